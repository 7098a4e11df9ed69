std = "luajit"
max_line_length = 110
cache = false
exclude_files = {"build/**"}
files["tests/e2e"] = {max_comment_line_length = false} -- the cases' headers hold whole messages

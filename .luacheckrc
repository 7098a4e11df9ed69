std = "luajit"
max_line_length = 110
cache = false
exclude_files = {"build/**", "tests/planner/goldens/**"} -- goldens are written by the planner
files["tests/e2e"] = {max_comment_line_length = false} -- the cases' headers hold whole messages

std = "luajit"
max_line_length = 110
cache = false
exclude_files = {"build/**"}

-- run: peri run -n 3 $FILE >$TMP/out && awk '{ print length($0) " " substr($0, 1, 3) }' $TMP/out | sort | uniq -c
-- within: 5
-- stdout:   10000 1028 [0]
-- stdout:   10000 1028 [1]
-- stdout:   10000 1028 [2]
-- Ten thousand long lines of each rank arrive whole.
local line = string.rep("0123456789abcdef", 64)
for _ = 1, 10000 do print(line) end

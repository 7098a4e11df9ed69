-- run: echo 'return { two = 2 }' >$TMP/own.lua; echo 'local s = ..' >$TMP/bad.lua; cp $FILE $TMP; cd /; peri run $TMP/$FILE
-- exit: 1
-- stdout: 2
-- stderr: *bad.lua:1: *unexpected*
-- Modules are found beside the script; a broken one names its own line.
print(require "own".two)
require "bad"

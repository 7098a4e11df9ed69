-- run: peri run $FILE -n 2
-- stdout: -n	2	1
-- stderr: peri: note: -n came too late and is passed to the script: peri run -n ... late_option.lua starts ranks
print(arg[1], arg[2], require "peri".world_size)

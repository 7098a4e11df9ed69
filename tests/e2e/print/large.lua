-- run: peri run $FILE
-- stdout:     0    1    2 ... 1997 1998 1999
-- stdout: [i64[2000]]
-- stdout:     0    1    2 ...   47   48   49
-- stdout:    50   51   52 ...   97   98   99
-- stdout:   100  101  102 ...  147  148  149
-- stdout:  ...
-- stdout:  1850 1851 1852 ... 1897 1898 1899
-- stdout:  1900 1901 1902 ... 1947 1948 1949
-- stdout:  1950 1951 1952 ... 1997 1998 1999
-- stdout: [f32[40,50]]
-- stdout: (1,.,.) =
-- stdout:  0 1
-- stdout:  2 3
-- stdout: (2,.,.) =
-- stdout:  4 5
-- stdout:  6 7
-- stdout: [i64[2,2,2]]
-- stdout: Columns 1 to 11
-- stdout:  0.0000 0.1429 0.2857 0.4286 0.5714 0.7143 0.8571 1.0000 1.1429 1.2857 1.4286
-- stdout:  2.1429 2.2857 2.4286 2.5714 2.7143 2.8571 3.0000 3.1429 3.2857 3.4286 3.5714
-- stdout: Columns 12 to 15
-- stdout:  1.5714 1.7143 1.8571 2.0000
-- stdout:  3.7143 3.8571 4.0000 4.1429
-- stdout: [f32[2,15]]
-- stdout:  1.0000
-- stdout:  1.5000
-- stdout: *
-- stdout:  7.5000
-- stdout: [f32[14]]
local peri = require "peri"
print(peri.arange(2000))
print(peri.arange(2000):to "f32":reshape(40, 50))
print(peri.arange(8):reshape(2, 2, 2))
print(peri.arange(30):to "f32":reshape(2, 15) / 7)
print(peri.arange(14):to "f32" / 2 + 1)

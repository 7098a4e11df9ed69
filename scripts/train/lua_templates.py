"""What the training programs are made of: names, functions, classes and scripts as templates.

Tables only; lua_corpus.py draws from them and says what the marks mean by its Scope.
"""

# Types: N number, I small whole number, H larger whole number, S string, B boolean, L list of numbers, W list of
# strings, M table from string to number, C one character, F function of a number; as results also NN two numbers,
# F0 and F1 a closure without and with an argument, 0 nothing.

LISTS = [("t", "v", "values"), ("t", "x", "numbers"), ("list", "item", "items"), ("xs", "x", "numbers"),
         ("values", "value", "values"), ("numbers", "n", "numbers"), ("prices", "price", "prices"),
         ("scores", "score", "scores"), ("ages", "age", "ages"), ("sizes", "size", "sizes"),
         ("weights", "weight", "weights"), ("points", "point", "points"), ("costs", "cost", "costs"),
         ("marks", "mark", "marks"), ("temps", "temp", "temps")]
WORD_LISTS = [("words", "word", "words"), ("names", "name", "names"), ("lines", "line", "lines"),
              ("t", "s", "strings"), ("list", "item", "strings"), ("parts", "part", "parts"),
              ("tags", "tag", "tags"), ("items", "item", "items")]
MAPS = [("t", "k", "v", "values"), ("ages", "name", "age", "ages"), ("prices", "item", "price", "prices"),
        ("stock", "item", "count", "items"), ("scores", "name", "score", "scores"),
        ("votes", "name", "n", "votes")]
PAIRS = [("a", "b"), ("a", "b"), ("x", "y"), ("m", "n")]
ENDS = [("lo", "hi"), ("min", "max"), ("low", "high"), ("first", "last")]
GROUPS = [(("t", "v", "nouns"), LISTS), (("w", "word", "words"), WORD_LISTS), (("m", "k", "mv", "things"), MAPS),
          (("a", "b"), PAIRS), (("lo", "hi"), ENDS)]
ROLES = {
    "acc": "total sum acc result", "cnt": "count n total num", "out": "out result res ret", "i": "i j k", "j": "j k",
    "n": "n n n num limit", "s": "s s s str text line name word", "c": "c ch char", "best": "best top result", "f": "f fn",
    "seen": "seen found", "base": "base b", "exp": "exp e", "target": "target wanted x",
}
TYPES = {"t": "L", "w": "W", "m": "M", "n": "I", "a": "N", "b": "N", "s": "S", "c": "C", "f": "F", "lo": "I", "hi": "H",
         "base": "I", "exp": "I", "target": "N"}
WORDS = ("apple river stone cloud green desk light paper horse ocean house music plant train chair bread "
         "glass night sugar tiger lemon candle garden silver window forest rocket mirror button basket lua code "
         "red blue one two three cat dog fox sun moon tree bird fish").split()
VERBS = ("get make find show check test run load read pick use try apply compute handle update build solve step "
         "work helper go process main parse render emit scan walk visit compare measure guess").split()
NOUNS = ("apple river stone cloud desk paper horse house plant train chair bread glass tiger lemon candle garden window "
         "forest rocket mirror button basket node state token record field entry path user file page row column cell "
         "point color shape image sound event task job order cart account bill tax rate body head input output buffer").split()
PEOPLE = "ann bob carl dora emma finn gus ida jack kate lee mia".split()
THINGS = "tea milk bread rice salt eggs fish corn soap nuts".split()

# Known functions: (parameters, returned type, names, what the comment says, bodies..., {use}).
EACH = "for _, $v in ipairs($t) do\n"
KNOWN = [
    ("t", "N", "sum sum_list add_all total", "sum of a list||sum the $nouns||add up the $nouns||the sum of all $nouns",
     "??-- start from zero\nlocal $acc = 0\n" + EACH + "  $acc = $acc + $v\nend\nreturn $acc",
     "local $acc = 0\nfor $i = 1, #$t do\n  $acc = $acc + $t[$i]\nend\nreturn $acc"),
    ("t", "N", "product multiply_all", "product of a list||multiply the $nouns||multiply all $nouns",
     "local $acc = 1\n" + EACH + "  $acc = $acc * $v\nend\nreturn $acc"),
    ("t", "N", "mean average avg", "mean of a list||average of the $nouns||the average of a list",
     "local $acc = 0\n" + EACH + "  $acc = $acc + $v\nend\nreturn $acc / #$t",
     "if #$t == 0 then\n  return 0\nend\nlocal $acc = 0\n" + EACH + "  $acc = $acc + $v\nend\nreturn $acc / #$t"),
    ("t", "N", "maximum max_of largest biggest", "largest of the $nouns||find the largest value||the maximum of a list",
     "??-- the first one is the best so far\nlocal $best = $t[1]\nfor $i = 2, #$t do\n  if $t[$i] > $best then\n    $best = $t[$i]\n  end\nend\nreturn $best",
     "local $best = $t[1]\n" + EACH + "  if $v > $best then\n    $best = $v\n  end\nend\nreturn $best"),
    ("t", "N", "minimum min_of smallest lowest", "smallest of the $nouns||find the smallest value||the minimum of a list",
     "local $best = $t[1]\n" + EACH + "  if $v < $best then\n    $best = $v\n  end\nend\nreturn $best",
     "local $best = math.huge\nfor $i = 1, #$t do\n  $best = math.min($best, $t[$i])\nend\nreturn $best"),
    ("t", "NN", "min_max range_of bounds", "smallest and largest||find both ends of the $nouns",
     "local $lo, $hi = $t[1], $t[1]\n" + EACH + "  $lo = math.min($lo, $v)\n  $hi = math.max($hi, $v)\nend\nreturn $lo, $hi"),
    ("t", "L", "reverse reversed backwards", "reverse a list||the $nouns in reverse||reverse the $nouns",
     "local $out = {}\n??-- from the last to the first\nfor $i = #$t, 1, -1 do\n  $out[#$out + 1] = $t[$i]\nend\nreturn $out",
     "local $out = {}\nfor $i = #$t, 1, -1 do\n  table.insert($out, $t[$i])\nend\nreturn $out"),
    ("t target", "B", "contains has includes", "is the value in the list||look for a value||does the list have it",
     EACH + "  if $v == $target then\n    return true\n  end\nend\nreturn false"),
    ("t target", "N", "index_of find position", "position of a value||find the index of a value",
     "for $i, $v in ipairs($t) do\n  if $v == $target then\n    return $i\n  end\nend\nreturn nil"),
    ("t", "L", "copy clone duplicate", "copy a list||a copy of the list",
     "local $out = {}\nfor $i, $v in ipairs($t) do\n  $out[$i] = $v\nend\nreturn $out"),
    ("t", "L", "unique distinct dedupe", "drop repeated $nouns||keep each value once||the distinct $nouns",
     "??-- remember what was seen\nlocal $seen, $out = {}, {}\n" + EACH + "  if not $seen[$v] then\n    $seen[$v] = true\n    $out[#$out + 1] = $v\n  end\nend\nreturn $out"),
    ("t", "L", "running_sum prefix_sums partial_sums", "running total of the $nouns||partial sums of a list",
     "local $out, $acc = {}, 0\nfor $i, $v in ipairs($t) do\n  $acc = $acc + $v\n  $out[$i] = $acc\nend\nreturn $out"),
    ("t", "L", "sorted sort_list in_order", "sort the $nouns||a sorted copy of the list",
     "local $out = {}\n" + EACH + "  table.insert($out, $v)\nend\ntable.sort($out<< || , function(a, b) return a < b end>>)\nreturn $out"),
    ("t", "L", "bubble_sort sort", "bubble sort||sort a list in place",
     "for $i = 1, #$t do\n  for $j = 1, #$t - $i do\n    if $t[$j] > $t[$j + 1] then\n      $t[$j], $t[$j + 1] = $t[$j + 1], $t[$j]\n    end\n  end\nend\nreturn $t"),
    ("t", "B", "is_sorted ascending ordered", "are the $nouns in order||is the list sorted",
     "for $i = 2, #$t do\n  if $t[$i] < $t[$i - 1] then\n    return false\n  end\nend\nreturn true"),
    ("t f", "L", "map apply transform", "apply a function to each value||map over a list",
     "local $out = {}\nfor $i, $v in ipairs($t) do\n  $out[$i] = $f($v)\nend\nreturn $out"),
    ("t n", "L", "take first_n head", "the first $nouns||take the first few",
     "local $out = {}\nfor $i = 1, math.min($n, #$t) do\n  $out[$i] = $t[$i]\nend\nreturn $out"),
    ("n", "N", "fib fibonacci", "fibonacci number||the nth fibonacci number||fibonacci numbers",
     "if $n < 2 then\n  return $n\nend\nreturn $self($n - 1) + $self($n - 2)",
     "??-- two neighbors of the sequence\nlocal a, b = 0, 1\nfor _ = 1, $n do\n  a, b = b, a + b\nend\nreturn a"),
    ("n", "N", "factorial fact", "factorial of n||the factorial of a number",
     "if $n <= 1 then\n  return 1\nend\nreturn $n * $self($n - 1)",
     "local $acc = 1\nfor $i = 2, $n do\n  $acc = $acc * $i\nend\nreturn $acc"),
    ("a b", "N", "gcd", "greatest common divisor||the gcd of two numbers",
     "while $b ~= 0 do\n  $a, $b = $b, $a % $b\nend\nreturn $a",
     "if $b == 0 then\n  return $a\nend\nreturn $self($b, $a % $b)"),
    ("n", "B", "is_prime prime", "is the number prime||check for a prime||test for primes",
     "if $n < 2 then\n  return false\nend\n??-- try each divisor up to the root\nfor $i = 2, math.floor(math.sqrt($n)) do\n  if $n % $i == 0 then\n    return false\n  end\nend\nreturn true"),
    ("n", "B", "is_even even", "is the number even||check for an even number", "return $n % 2 == 0"),
    ("base exp", "N", "power pow", "raise to a power||power by repeated products",
     "local $acc = 1\nfor _ = 1, $exp do\n  $acc = $acc * $base\nend\nreturn $acc"),
    ("n lo hi", "N", "clamp limit_to", "keep a number in range||clamp to a range",
     "if $n < $lo then\n  return $lo\nelseif $n > $hi then\n  return $hi\nend\nreturn $n",
     "return math.max($lo, math.min($hi, $n))"),
    ("n", "N", "absolute abs", "absolute value||drop the sign", "if $n < 0 then\n  return -$n\nend\nreturn $n"),
    ("n", "N", "sign sign_of", "sign of a number", "if $n > 0 then\n  return 1\nelseif $n < 0 then\n  return -1\nend\nreturn 0"),
    ("n", "N", "collatz collatz_steps", "collatz steps||steps until one",
     "local $cnt = 0\nwhile $n ~= 1 do\n  if $n % 2 == 0 then\n    $n = $n / 2\n  else\n    $n = 3 * $n + 1\n  end\n  $cnt = $cnt + 1\nend\nreturn $cnt"),
    ("n", "N", "digit_sum sum_digits", "sum of the digits||add up the digits",
     "local $acc = 0\nwhile $n > 0 do\n  $acc = $acc + $n % 10\n  $n = math.floor($n / 10)\nend\nreturn $acc"),
    ("n", "N", "halvings log2 count_halvings", "how often can it be halved||count the halvings",
     "local $cnt = 0\nrepeat\n  $n = math.floor($n / 2)\n  $cnt = $cnt + 1\nuntil $n <= 1\nreturn $cnt"),
    ("n", "S", "fizzbuzz", "fizz buzz||fizzbuzz for one number",
     "if $n % 15 == 0 then\n  return \"fizzbuzz\"\nelseif $n % 3 == 0 then\n  return \"fizz\"\nelseif $n % 5 == 0 then\n  return \"buzz\"\nend\nreturn tostring($n)"),
    ("n", "L", "countdown count_down", "count down to one||a countdown",
     "local $out = {}\nwhile $n > 0 do\n  $out[#$out + 1] = $n\n  $n = $n - 1\nend\nreturn $out"),
    ("lo hi", "L", "range interval", "numbers in a range||list of numbers from low to high",
     "local $out = {}\nfor $i = $lo, $hi do\n  $out[#$out + 1] = $i\nend\nreturn $out"),
    ("n", "L", "divisors factors", "divisors of a number||find the factors",
     "local $out = {}\nfor $i = 1, $n do\n  if $n % $i == 0 then\n    table.insert($out, $i)\n  end\nend\nreturn $out"),
    ("s", "N", "count_words word_count", "count the words||count the words in a string||how many words",
     "local $cnt = 0\nfor _ in $s:gmatch(\"%S+\") do\n  $cnt = $cnt + 1\nend\nreturn $cnt",
     "local $cnt = 0\nfor _ in string.gmatch($s, \"%a+\") do\n  $cnt = $cnt + 1\nend\nreturn $cnt"),
    ("s", "W", "split_words words_of split", "split into words||split a string||the words of a string",
     "local $out = {}\nfor $c in $s:gmatch(\"%S+\") do\n  $out[#$out + 1] = $c\nend\nreturn $out",
     "local $out = {}\nfor $c in string.gmatch($s, \"%a+\") do\n  table.insert($out, $c)\nend\nreturn $out"),
    ("s c", "N", "count_char occurrences", "count a character||how often a letter occurs",
     "local $cnt = 0\nfor $i = 1, #$s do\n  if $s:sub($i, $i) == $c then\n    $cnt = $cnt + 1\n  end\nend\nreturn $cnt"),
    ("s", "S", "capitalize upper_first", "capitalize a word||make the first letter upper case",
     "return $s:sub(1, 1):upper() .. $s:sub(2)"),
    ("s n", "S", "repeat_string times", "repeat a string",
     "local $out = \"\"\nfor _ = 1, $n do\n  $out = $out .. $s\nend\nreturn $out", "return string.rep($s, $n)"),
    ("s", "S", "trim strip", "trim a string||remove spaces at both ends", "return ($s:gsub(\"^%s+\", \"\"):gsub(\"%s+$\", \"\"))",
     "return $s:match(\"^%s*(.-)%s*$\")"),
    ("s c", "B", "starts_with has_prefix", "does it start with this", "return $s:sub(1, #$c) == $c"),
    ("s", "B", "is_palindrome palindrome", "is it a palindrome||same in both directions",
     "return $s == $s:reverse()",
     "for $i = 1, math.floor(#$s / 2) do\n  if $s:byte($i) ~= $s:byte(#$s - $i + 1) then\n    return false\n  end\nend\nreturn true"),
    ("s", "S", "reverse_string flip", "reverse a string||write the string backwards",
     "local $out = \"\"\nfor $i = #$s, 1, -1 do\n  $out = $out .. $s:sub($i, $i)\nend\nreturn $out"),
    ("s", "M", "letter_counts histogram frequencies", "count each letter||how often each letter occurs",
     "local $out = {}\nfor $c in $s:gmatch(\"%a\") do\n  $out[$c] = ($out[$c] or 0) + 1\nend\nreturn $out"),
    ("w", "S", "join join_words concat", "join the $words||put the $words together",
     "local $out = \"\"\nfor $i, $word in ipairs($w) do\n  if $i > 1 then\n    $out = $out .. \", \"\n  end\n  $out = $out .. $word\nend\nreturn $out",
     "return table.concat($w, \" \")"),
    ("w", "S", "longest longest_word", "longest of the $words||find the longest word",
     "local $best = \"\"\nfor _, $word in ipairs($w) do\n  if #$word > #$best then\n    $best = $word\n  end\nend\nreturn $best"),
    ("w", "S", "shortest shortest_word", "shortest of the $words||find the shortest word",
     "local $best = $w[1]\nfor _, $word in ipairs($w) do\n  if #$word < #$best then\n    $best = $word\n  end\nend\nreturn $best"),
    ("w", "W", "upper_all shout", "all $words in upper case||shout the $words",
     "local $out = {}\nfor $i, $word in ipairs($w) do\n  $out[$i] = $word:upper()\nend\nreturn $out"),
    ("w", "L", "lengths sizes_of", "length of each of the $words||measure the $words",
     "local $out = {}\nfor _, $word in ipairs($w) do\n  $out[#$out + 1] = #$word\nend\nreturn $out"),
    ("w", "N", "total_length count_letters", "letters in all $words||add up the lengths",
     "local $acc = 0\nfor _, $word in ipairs($w) do\n  $acc = $acc + #$word\nend\nreturn $acc"),
    ("w n", "W", "longer_than long_words", "keep the long $words",
     "local $out = {}\nfor _, $word in ipairs($w) do\n  if #$word > $n then\n    table.insert($out, $word)\n  end\nend\nreturn $out"),
    ("w", "M", "tally count_each", "count each of the $words||tally the $words",
     "local $out = {}\nfor _, $word in ipairs($w) do\n  $out[$word] = ($out[$word] or 0) + 1\nend\nreturn $out"),
    ("m", "N", "sum_values total_of", "add up the $things||total of all $things",
     "local $acc = 0\nfor _, $mv in pairs($m) do\n  $acc = $acc + $mv\nend\nreturn $acc"),
    ("m", "W", "keys sorted_keys", "keys of a table||the keys in order",
     "local $out = {}\nfor $k in pairs($m) do\n  $out[#$out + 1] = $k\nend\n??-- pairs has no order\ntable.sort($out)\nreturn $out"),
    ("m", "N", "size count_keys", "number of $things||count the $things",
     "local $cnt = 0\nfor _ in pairs($m) do\n  $cnt = $cnt + 1\nend\nreturn $cnt"),
    ("m", "S", "best_key winner", "key of the largest value||who has the most",
     "local $best, most\nfor $k, $mv in pairs($m) do\n  if not most or $mv > most then\n    $best, most = $k, $mv\n  end\nend\nreturn $best"),
    ("m n", "W", "keys_above at_least", "who has at least n",
     "local $out = {}\nfor $k, $mv in pairs($m) do\n  if $mv >= $n then\n    table.insert($out, $k)\n  end\nend\nreturn $out"),
    ("", "F0", "counter make_counter", "make a counter||a counter that remembers",
     "local $cnt = 0\nreturn function()\n  $cnt = $cnt + 1\n  return $cnt\nend"),
    ("base", "F1", "adder make_adder", "make a function that adds", "return function(x)\n  return x + $base\nend"),
    ("n", "F1", "scaler multiplier", "make a function that scales", "return function(x)\n  return x * $n\nend"),
    ("t f", "N", "reduce_sum sum_of sum_by", "sum of a function over a list",
     "local $acc = 0\n" + EACH + "  $acc = $acc + $f($v)\nend\nreturn $acc"),
    ("t f", "L", "filter select_by", "keep what passes the test||filter a list",
     "local $out = {}\n" + EACH + "  if $f($v) > $K then\n    $out[#$out + 1] = $v\n  end\nend\nreturn $out"),
    ("a b", "N", "add plus", "add two numbers||sum of two numbers", "return $a + $b"),
    ("a b", "N", "min smaller", "the smaller of two", "if $a < $b then\n  return $a\nend\nreturn $b", "return math.min($a, $b)"),
    ("a b", "NN", "swap", "swap two values||in the other order", "return $b, $a"),
    ("s", "S", "greet hello welcome", "greet someone||say hello", "return \"hello, \" .. $s", "return string.format(\"hello, %s\", $s)"),
    ("s", "0", "say shout_out announce", "print it loudly||say it in upper case", "print($s:upper() .. \"!\")"),
    ("s", "S", "reverse mirror_of", "turn a string around", "return $s:reverse()", "return string.reverse($s)"),
    ("n", "N", "sum_to triangle", "sum of the numbers up to n", "return $n * ($n + 1) / 2",
     "local $acc = 0\nfor $i = 1, $n do\n  $acc = $acc + $i\nend\nreturn $acc"),
    ("n", "0", "count_to print_numbers", "count to n||print the numbers up to n", "for $i = 1, $n do\n  print($i)\nend"),
    ("n", "B", "is_odd odd", "is the number odd", "return $n % 2 == 1"),
    ("n", "S", "stars bar", "a row of stars", "local $out = \"\"\nfor _ = 1, $n do\n  $out = $out .. \"*\"\nend\nreturn $out", "return string.rep(\"*\", $n)"),
    ("w", "W", "sort_words in_order", "sort the $words||the $words in order",
     "local $out = {}\nfor $i, $word in ipairs($w) do\n  $out[$i] = $word\nend\ntable.sort($out)\nreturn $out"),
    ("w", "0", "print_all show_all", "print the $words||show all $words", "for _, $word in ipairs($w) do\n  print($word)\nend",
     "for $i, $word in ipairs($w) do\n  print($i, $word)\nend"),
    ("w", "M", "set_of to_set", "turn the $words into a set", "local $out = {}\nfor _, $word in ipairs($w) do\n  $out[$word] = true\nend\nreturn $out"),
    ("w", "S", "initials", "first letters of the $words", "local $out = \"\"\nfor _, $word in ipairs($w) do\n  $out = $out .. $word:sub(1, 1)\nend\nreturn $out"),
    ("t", "0", "print_list show", "print the $nouns||show the $nouns", EACH + "  print($v)\nend", "print(table.concat($t, \", \"))"),
    ("t", "N", "length count", "number of $nouns||count the $nouns", "return #$t", "local $cnt = 0\nfor _ in ipairs($t) do\n  $cnt = $cnt + 1\nend\nreturn $cnt"),
    ("t", "L", "rest tail", "all $nouns but the first", "local $out = {}\nfor $i = 2, #$t do\n  $out[$i - 1] = $t[$i]\nend\nreturn $out"),
    ("t", "N", "last last_of", "the last of the $nouns", "return $t[#$t]"),
    ("a b", "N", "max larger bigger", "the larger of two", "if $a > $b then\n  return $a\nend\nreturn $b"),
    ("a b", "N", "difference gap", "distance between two numbers", "return math.abs($a - $b)"),
]
FORMULAS = [
    ("area", "width height", "area of a rectangle", "width * height"),
    ("perimeter", "width height", "length around a rectangle", "2 * (width + height)"),
    ("volume", "width height depth", "volume of a box", "width * height * depth"),
    ("circle_area", "r", "area of a circle", "math.pi * r * r"),
    ("to_fahrenheit", "celsius", "celsius to fahrenheit", "celsius * 9 / 5 + 32"),
    ("to_celsius", "degrees", "fahrenheit to celsius", "(degrees - 32) * 5 / 9"),
    ("hypotenuse", "a b", "longest side of a triangle", "math.sqrt(a * a + b * b)"),
    ("midpoint", "a b", "middle of two numbers", "(a + b) / 2"),
    ("speed", "distance time", "speed of a trip", "distance / time"),
    ("with_tax", "price rate", "price with tax", "price + price * rate / 100"),
    ("discount", "price percent", "price after a discount", "price * (100 - percent) / 100"),
    ("square", "x", "square of a number", "x * x"), ("cube", "x", "cube of a number", "x * x * x"),
    ("double", "x", "twice a number", "x * 2"), ("lerp", "a b t", "between two numbers", "a + (b - a) * t"),
    ("seconds", "hours minutes", "seconds in a time", "hours * 3600 + minutes * 60"),
]
ADJECTIVES = [("even", "$v % 2 == 0"), ("odd", "$v % 2 == 1"), ("positive", "$v > 0"), ("large", "$v > $K"),
              ("big", "$v >= $K"), ("small", "$v < $K"), ("low", "$v <= $K"), ("high", "$v > $K")]
CHANGES = [("double", "$v * 2"), ("square", "$v * $v"), ("triple", "$v * 3"), ("halve", "$v / 2"), ("negate", "-$v"),
           ("increase", "$v + $K"), ("reduce", "$v - $K"), ("scale", "$v * $K"), ("round", "math.floor($v + 0.5)")]
CLASSES = [("digits", "%d"), ("letters", "%a"), ("spaces", "%s"), ("vowels", "[aeiou]"), ("capitals", "%u"), ("dots", "%.")]
LABELS = [("grade", "score", ("fail", "pass", "good", "great")), ("size_name", "size", ("small", "medium", "large", "huge")),
          ("level", "points", ("new", "basic", "skilled", "expert")), ("weather", "temp", ("cold", "mild", "warm", "hot")),
          ("speed_name", "speed", ("slow", "normal", "fast")), ("age_group", "age", ("child", "teen", "adult"))]

CLASS_DOCS = [
    ("Stack", "s stack", "a stack of values||last in, first out", "new", "local $o = Stack.new()\n$o:push($n1)\n$o:push($n2)\nprint($o:pop())",
     "  return setmetatable({<<items = {} || items = {}, size = 0>>}, Stack)",
     "push(v)|  self.items[#self.items + 1] = v", "pop()|  return table.remove(self.items)"),
    ("Queue", "q queue", "a queue of values||first in, first out", "new", "local $o = Queue.new()\n$o:add($n1)\n$o:add($n2)\nprint($o:take())",
     "  return setmetatable({items = {}}, Queue)",
     "add(v)|  table.insert(self.items, v)", "take()|  return table.remove(self.items, 1)"),
    ("Counter", "c counter", "a counter||count events", "new", "local $o = Counter.new()\n$o:add()\nprint($o.<<n||n>>)",
     "  return setmetatable({n = 0}, Counter)", "add()|  self.n = self.n + 1", "reset()|  self.n = 0"),
    ("Account", "acc account", "a bank account||money in and out", "new", "local $o = Account.new($n1)\n$o:deposit($n2)\nprint($o.balance)",
     "  return setmetatable({balance = amount}, Account)", "deposit(amount)|  self.balance = self.balance + amount",
     "withdraw(amount)|  if amount <= self.balance then\n    self.balance = self.balance - amount\n  end"),
    ("Point", "p point", "a point in the plane||points with x and y", "new", "local $o = Point.new($n1, $n2)\n$o:move(<<1, 1||2, 3||1, 0>>)\nprint($o.x, $o.y)",
     "  return setmetatable({x = x, y = y}, Point)", "move(dx, dy)|  self.x = self.x + dx\n  self.y = self.y + dy",
     "length()|  return math.sqrt(self.x * self.x + self.y * self.y)"),
    ("Set", "s set", "a set of values||each value at most once", "new", "local $o = Set.new()\n$o:add($n1)\nprint($o:has($n1))\nprint($o:has($n2))",
     "  return setmetatable({items = {}}, Set)", "add(v)|  self.items[v] = true", "has(v)|  return self.items[v] == true"),
    ("Dog", "d dog", "a dog that speaks", "new", "local $o = Dog.new(\"$name\")\n$o:speak()",
     "  return setmetatable({name = name}, Dog)", "speak()|  print(self.name .. \" says <<woof||hello||hi>>\")"),
    ("Timer", "t timer", "a timer that counts down", "new", "local $o = Timer.new($n1)\nwhile not $o:done() do\n  $o:tick()\nend\nprint($o.left)",
     "  return setmetatable({left = n}, Timer)", "tick()|  self.left = self.left - 1", "done()|  return self.left <= 0"),
]
MAKER_PARAMS = {"Account": "amount", "Point": "x, y", "Dog": "name", "Timer": "n"}

# Top-level programs; $L1 a list of numbers, $W1 a list of strings, $S1 a string, $K1 a number.
SCRIPTS = [
    "??-- fizz buzz\nfor $i = 1, $K1 do\n  if $i % 15 == 0 then\n    print(\"fizzbuzz\")\n  elseif $i % 3 == 0 then\n    print(\"fizz\")\n"
    "  elseif $i % 5 == 0 then\n    print(\"buzz\")\n  else\n    print($i)\n  end\nend",
    "-- multiplication table\nfor $i = 1, $K1 do\n  local row = {}\n  for $j = 1, $K2 do\n    row[$j] = $i * $j\n  end\n"
    "  print(table.concat(row, \" \"))\nend\n\nprint(\"done\")",
    "for $i = 1, <<10 || 5 || 20>> do\n  local square = $i * $i\n  if square % 2 == 0 then\n    print($i, square)\n  else\n    print($i, \"odd\")\n"
    "  end\nend\n\nprint(\"done\")",
    "-- powers of <<two || 2>>\nlocal x = 1\nlocal steps = 0\n\nwhile x < <<100 || 500 || 1000>> do\n  x = x * 2\n  steps = steps + 1\n  print(steps, x)\nend\n\n"
    "print(\"steps\", steps)",
    "-- count down\nlocal $n = $K1\n\nwhile $n > 0 do\n  if $n == <<1 || 3>> then\n    print(\"almost\")\n  end\n  print($n)\n  $n = $n - 1\nend\n"
    "print(\"<<go || done || liftoff>>\")",
    "-- print the $words with their lengths\nlocal $w = $W1\nlocal $acc = 0\n\nfor $i, $word in ipairs($w) do\n  print($i, $word, #$word)\n"
    "  $acc = $acc + #$word\nend\n\nprint(\"letters\", $acc)",
    "-- words in upper case\nlocal line = $S1\nlocal $out = {}\n\nfor word in line:gmatch(\"%S+\") do\n  $out[#$out + 1] = word:upper()\nend\n\n"
    "print(#$out)\nprint(table.concat($out, \" \"))",
    "local $w = $W1\nlocal $best = $w[1]\n\nfor _, $word in ipairs($w) do\n  if #$word > #$best then\n    $best = $word\n  end\nend\n\nprint(\"longest\", $best)",
    "-- largest of the $nouns\nlocal $t = $L1\nlocal $best = $t[1]\n\nfor $i = 2, #$t do\n  if $t[$i] > $best then\n    $best = $t[$i]\n  end\nend\n\nprint($best)",
    "-- triangle of stars\nfor $i = 1, $K1 do\n  local row = \"\"\n  for _ = 1, $i do\n    row = row .. \"*\"\n  end\n  print(row)\nend\n\nprint(\"done\")",
    "-- sum of a list\nlocal $t = $L1\nlocal $acc = 0\n\nfor $i = 1, #$t do\n  $acc = $acc + $t[$i]\nend\n\nprint(\"sum\", $acc)\nprint(\"mean\", $acc / #$t)",
]

-- run: peri run $FILE
-- within: 150
-- stdout: * of 32 compile
-- 32 first lines that scripts/train/lua_corpus.py writes with another seed are continued to programs of which nine of ten
-- compile.
-- luacheck: globals io.write io.stderr arg
local peri = require "peri"
local prompts = {
  "-- print the odd sizes\nlocal sizes = {5, 8, 11}",
  "local M = {}",
  "-- a countdown\nlocal function neproba(plant)",
  "-- is any of the ages positive\nlocal function has_positive(ages)",
  "-- running total of the values\nlocal function prefix_sums(t)",
  "-- price after a discount\nlocal function discount(price, percent)",
  "-- sum the odd numbers up to n\nlocal function sum_odd_to(n)",
  "local marks = {6, 11, 16, 21}",
  "-- split a string\nlocal function split(line)",
  "local function triple_each(scores)",
  "-- make the first letter upper case\nlocal function upper_first(text)",
  "local function times(s, n)",
  "-- triangle of stars\nfor j = 1, 12 do",
  "local function large_count(t)",
  "-- how many dots\nlocal function num_dots(str)",
  "local function sum_even(marks)",
  "-- count events\nlocal Counter = {}",
  "local util = {}",
  "-- a bank account\nlocal Account = {}",
  "local function firiba(cloud)",
  "local function total(weights)",
  "-- make a list of doubles\nlocal function doubles_to(n)",
  "local function num_dots(s)",
  "-- Smallest of the items.\nlocal function minimum(list)",
  "local function sum_odd_to(num)",
  "local sizes = {8, 12, 16, 20, 24}",
  "-- print the positive items\nlocal stock = {soap = 12, eggs = 35}",
  "local function counter()",
  "local function initials(parts)",
  "local Stack = {}",
  "local marks = {4, 9, 14, 19, 24}",
  "local function long_words(parts, n)",
}
local example, write, err, compiled = "../../../scripts/examples/generate.lua", io.write, io.stderr, 0
local chunk = assert(loadfile(example))
for _, prompt in ipairs(prompts) do
  local text = {}
  io.write = function(...) for _, piece in ipairs { ... } do text[#text + 1] = piece end end
  io.stderr = { write = function() end }
  arg = { [0] = example, prompt }
  chunk()
  io.write, io.stderr = write, err
  if peri.rank == 0 and load(table.concat(text)) then compiled = compiled + 1 end
end
if peri.rank == 0 then
  assert(compiled >= 0.9 * #prompts, compiled)
  print(compiled .. " of " .. #prompts .. " compile")
end

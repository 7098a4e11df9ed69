// The rewriting of return statements that keeps the user's lines: what is wrapped, and what must not be
// touched.
#include "bindings/lua/chunk.hpp"

#include <catch2/catch.hpp>

using peri::lua::without_tail_calls;

TEST_CASE("results of return statements pass through _results") {
  CHECK(without_tail_calls("return f(x)") == "return _results( f(x))");
  CHECK(without_tail_calls("if a then return f(x) end") == "if a then return _results( f(x)) end");
  CHECK(
      without_tail_calls("if a then return f(x) elseif b then return g() else return h() end") ==
      "if a then return _results( f(x)) elseif b then return _results( g()) else return _results( h()) end");
  CHECK(without_tail_calls("repeat return f() until x") == "repeat return _results( f()) until x");
  CHECK(without_tail_calls("return f(), g();") == "return _results( f(), g());");
}

TEST_CASE("functions inside a return statement have returns of their own") {
  CHECK(without_tail_calls("return function(x) return f(x) end, 1") ==
        "return _results( function(x) return _results( f(x)) end, 1)");
  CHECK(without_tail_calls("return map(t, function(x) if x then return x end end)") ==
        "return _results( map(t, function(x) if x then return _results( x) end end))");
}

TEST_CASE("lines stay, comments after the expression stay comments") {
  CHECK(without_tail_calls("return f(x) -- why\n") == "return _results( f(x)) -- why\n");
  CHECK(without_tail_calls("return\n  f(x)\n") == "return _results(\n  f(x))\n");
}

TEST_CASE("what is no return statement, or no Lua, is left alone") {
  for (const char* source : {"return", "do return end", "return;", "x = 'return f(x)'", "-- return f(x)",
                             "--[[ return\nf(x) ]] y = 1", "s = [==[ return f(x) ]] ]==]", "returned = f(x)",
                             "end return f(x)", "function (", "s = 'unfinished", "s = [[unfinished", ""})
    CHECK(without_tail_calls(source) == source);
}

TEST_CASE("loops and branches nest") {
  CHECK(without_tail_calls("for i = 1, 2 do while a do if b then return f(i) end end end") ==
        "for i = 1, 2 do while a do if b then return _results( f(i)) end end end");
}

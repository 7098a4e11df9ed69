// How errors print, and "did you mean".
#include <catch2/catch.hpp>

#include "core/error.hpp"

using namespace peri;

TEST_CASE("an error prints its place, its operands and its hint") {
  Error error{Code::ShapeMismatch,
              "matmul: inner dimensions differ",
              {"train.lua", 41},
              {"a : f32[2,3]", "b : f32[4,5]"},
              "transpose b"};
  CHECK(error.to_string() ==
        "train.lua:41: matmul: inner dimensions differ\n   a : f32[2,3]\n   b : f32[4,5]\n   hint: transpose "
        "b");
  CHECK(Error{Code::NotFound, "no such file"}.to_string() == "no such file");
}

TEST_CASE("PERI_TRY yields the value or returns the error") {
  auto half = [](int n) -> Result<int> {
    if (n % 2) return fail(Code::InvalidArgument, "odd");
    return n / 2;
  };
  auto quarter = [&](int n) -> Result<int> { return PERI_TRY(half(PERI_TRY(half(n)))); };
  CHECK(quarter(12) == 3);
  CHECK(quarter(6).error().message == "odd");
}

TEST_CASE("nearest finds a word within a third of its length") {
  const std::vector<std::string> ops = {"all_reduce", "all_gather", "matmul", "add", "sub"};
  CHECK(nearest("all_reduced", ops) == "all_reduce");
  CHECK(nearest("matxxl", ops) == "matmul");  // two substitutions of six letters
  CHECK(nearest("pirnt", {"print"}) ==
        "print");  // neighbours exchanged: one edit, all that five letters may have
  CHECK(nearest("pritn", {"spirit"}) == std::nullopt);
  CHECK(nearest("adf", ops) == "add");
  CHECK(nearest("sud", {"sub", "sum"}) == "sub");  // the first of equally near ones
  CHECK(nearest("ad", ops) == std::nullopt);       // a third of two letters is none
  CHECK(nearest("convolution", ops) == std::nullopt);
  CHECK(nearest(std::string(1'000'000, 'x'), ops) == std::nullopt);
}

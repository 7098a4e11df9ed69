// The manual's pages as data; what they print is tested by tests/e2e/program/manual.lua.
#include "bindings/manual/manual.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <set>

#include "bindings/lua/policy.hpp"
#include "bindings/manual/pages.hpp"

using namespace peri;
using manual::Form;
using manual::Page;

TEST_CASE("a page is read with its forms, rows and text") {
  const auto pages = manual::parse_pages(
      "=== A chapter\n== one uno\n= peri.one(x, options) -> peri.Tensor\n= peri.n: integer\nWhat it\nis.\n"
      "@ x  peri.Tensor  -  an operand\n@    of any shape\n@ options.n  integer  1  a number\n\nText.\n\n"
      "    more\n\n== two\n@ k  how many\n");
  REQUIRE(pages.size() == 2);
  const Page& page = pages[0];
  CHECK(page.chapter == "A chapter");
  CHECK(page.names == std::vector<std::string>{"one", "uno"});
  CHECK(page.summary == "What it is.");
  CHECK(page.text == "Text.\n\n    more\n");
  REQUIRE(page.forms.size() == 2);
  CHECK(page.forms[0].kind == Form::Kind::function);
  CHECK(page.forms[0].owner == "peri");
  CHECK(page.forms[0].name == "one");
  CHECK(page.forms[0].parameters == std::vector<std::string>{"x", "options"});
  CHECK(page.forms[0].type == "peri.Tensor");
  CHECK(page.forms[1].kind == Form::Kind::value);
  CHECK(page.forms[1].name == "n");
  REQUIRE(page.rows.size() == 2);
  CHECK(page.rows[0].meaning == "an operand of any shape");
  CHECK_FALSE(page.rows[0].is_optional());
  CHECK(page.rows[1].fallback == "1");
  CHECK(pages[1].rows[0].meaning == "how many");
}

TEST_CASE("no name leads to two pages") {
  std::set<std::string> names;
  for (const Page& page : manual::pages())
    for (const std::string& name : page.names) CHECK(names.insert(name).second);
}

TEST_CASE("every field of a policy is on its page") {
  const Page* page = manual::find_page("policy");
  REQUIRE(page);
  for (const std::string& field : lua::policy_fields()) {
    INFO(field);
    CHECK(std::ranges::count(page->rows, field, &manual::Row::name) == 1);
  }
}

TEST_CASE("every known name has a page, and an unknown one an error with the nearest") {
  for (const std::string& name : manual::known_names()) {
    INFO(name);
    CHECK(manual::manual(name));
  }
  const auto wrong = manual::manual("peri.sofmax");
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().message == "no page 'peri.sofmax'");
  CHECK(wrong.error().hint == "did you mean 'softmax'?");
}

// Reads one line of a text form from left to right. Every reader either takes what it names or fails and says
// what it expected. Any bytes will do: no recursion, memory in proportion to the line.
#pragma once

#include <charconv>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "core/ops/attributes.hpp"
#include "core/ops/op.hpp"
#include "core/types/shape.hpp"

namespace peri {

// How the values of attributes are written. graph: [1,2], f32, inf. lua, as in the text of plans: {1, 2},
// "f32", math.huge.
enum class Notation : uint8_t { graph, lua };

class TextReader {
 public:
  explicit TextReader(std::string_view line) : line_(line) {}

  bool at_end();
  // Takes the token if it comes next; a word only if it ends there: `in` is not the beginning of `index`.
  bool accept(std::string_view token);
  Status expect(std::string_view token);
  // "column 7: expected a dtype".
  std::unexpected<Error> expected(std::string_view what) const;

  // Letters, digits and underscores.
  Result<std::string_view> word(std::string_view what);
  template <class T>
  Result<T> number(std::string_view what) {
    skip_space();
    T value{};
    const char* begin = line_.data() + at_;
    auto [end, error] = std::from_chars(begin, line_.data() + line_.size(), value);
    if (error != std::errc()) return expected(what);
    at_ += static_cast<size_t>(end - begin);
    return value;
  }
  // As `quote` writes it.
  Result<std::string> quoted();
  // "[1,2]" or "{0, 1}".
  template <class T>
  Result<std::vector<T>> list(std::string_view open, std::string_view close) {
    PERI_TRY(expect(open));
    std::vector<T> items;
    if (accept(close)) return items;
    do items.push_back(PERI_TRY(number<T>("a whole number")));
    while (accept(","));
    PERI_TRY(expect(close));
    return items;
  }
  // A position that counts from 1, or from -1 at the last; the result counts from 0.
  Result<int64_t> position();
  Result<Ints> positions(std::string_view open, std::string_view close);
  // "f32[2,3]", "f32[3] on host".
  Result<TensorType> type();
  // "{0,1}".
  Result<Group> group();
  // "model.lua:3", as origin_text writes it.
  Result<Origin> origin();
  // An attribute's value. Dimensions and positions count from 1 in the text.
  Result<AttributeValue> value(Kind kind, Notation notation);

 private:
  void skip_space();
  Result<std::string_view> take(std::string_view what, bool (*belongs)(char));
  Result<char> escaped();
  // A dtype's or a place's name.
  Result<std::string> name(std::string_view what, Notation notation);

  std::string_view line_;
  size_t at_ = 0;
};

// "model.lua:3"; a file name with anything unusual in it is quoted.
std::string origin_text(const Origin& origin);

}  // namespace peri

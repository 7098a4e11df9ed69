// Reads one line of a text form from left to right.
#include "core/graph/reader.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

namespace peri {
namespace {

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}
bool is_path(char c) {
  return is_word(c) || c == '.' || c == '/' || c == '-' || c == '+';
}

}  // namespace

std::string origin_text(const Origin& origin) {
  const bool plain = !origin.file.empty() && std::ranges::all_of(origin.file, is_path);
  return fmt::format("{}:{}", plain ? origin.file : quote(origin.file), origin.line);
}

bool TextReader::at_end() {
  skip_space();
  return at_ == line_.size();
}

bool TextReader::accept(std::string_view token) {
  skip_space();
  if (!line_.substr(at_).starts_with(token)) return false;
  const size_t after = at_ + token.size();
  if (is_word(token.back()) && after < line_.size() && is_word(line_[after])) return false;
  at_ = after;
  return true;
}

Status TextReader::expect(std::string_view token) {
  if (accept(token)) return {};
  return expected(fmt::format("`{}`", token));
}

std::unexpected<Error> TextReader::expected(std::string_view what) const {
  return fail(Code::MalformedFile, fmt::format("column {}: expected {}", at_ + 1, what));
}

Result<std::string_view> TextReader::word(std::string_view what) {
  return take(what, is_word);
}

Result<std::string> TextReader::quoted() {
  PERI_TRY(expect("\""));
  std::string text;
  while (at_ < line_.size() && line_[at_] != '"') {
    char c = line_[at_++];
    if (c == '\\') c = PERI_TRY(escaped());
    text += c;
  }
  if (at_ == line_.size()) return expected("a closing `\"`");
  ++at_;
  return text;
}

Result<int64_t> TextReader::position() {
  const int64_t position = PERI_TRY(number<int64_t>("a position"));
  if (position == 0) return fail(Code::MalformedFile, "positions count from 1, or from -1 at the last");
  return position > 0 ? position - 1 : position;
}

Result<Ints> TextReader::positions(std::string_view open, std::string_view close) {
  Ints dims = PERI_TRY(list<int64_t>(open, close));
  for (int64_t& dim : dims) {
    if (dim == 0) return fail(Code::MalformedFile, "dimensions count from 1, or from -1 at the last");
    if (dim > 0) --dim;
  }
  return dims;
}

Result<TensorType> TextReader::type() {
  const DType dtype = PERI_TRY(parse_dtype(PERI_TRY(word("a dtype"))));
  const Ints dims = PERI_TRY(list<int64_t>("[", "]"));
  TensorType type{dtype, PERI_TRY(make_shape(dims))};
  if (accept("on")) type.place = PERI_TRY(parse_place(PERI_TRY(word("a place"))));
  return type;
}

Result<Group> TextReader::group() {
  return Group{PERI_TRY(list<int>("{", "}"))};
}

Result<Origin> TextReader::origin() {
  Origin origin;
  skip_space();
  const bool is_quoted = at_ < line_.size() && line_[at_] == '"';
  if (is_quoted)
    origin.file = PERI_TRY(quoted());
  else
    origin.file = std::string(PERI_TRY(take("a file name", is_path)));
  PERI_TRY(expect(":"));
  origin.line = PERI_TRY(number<int>("a line number"));
  return origin;
}

Result<AttributeValue> TextReader::value(Kind kind, Notation notation) {
  const bool lua = notation == Notation::lua;
  const std::string_view open = lua ? "{" : "[", close = lua ? "}" : "]";
  switch (kind) {
    case Kind::boolean:
      if (accept("true")) return true;
      PERI_TRY(expect("false"));
      return false;
    case Kind::integer:
      return PERI_TRY(number<int64_t>("a whole number"));
    case Kind::number:
      if (lua && accept("0/0")) return std::numeric_limits<double>::quiet_NaN();
      if (lua && accept("math.huge")) return std::numeric_limits<double>::infinity();
      if (lua && accept("-math.huge")) return -std::numeric_limits<double>::infinity();
      return PERI_TRY(number<double>("a number"));
    case Kind::string:
    case Kind::reduce:
      return PERI_TRY(quoted());
    case Kind::ints:
    case Kind::shape:
      return PERI_TRY(list<int64_t>(open, close));
    case Kind::dim:
    case Kind::index:
      return PERI_TRY(position());
    case Kind::dims:
      return PERI_TRY(positions(open, close));
    case Kind::dtype:
      return PERI_TRY(parse_dtype(PERI_TRY(name("a dtype", notation))));
    case Kind::place:
      return PERI_TRY(parse_place(PERI_TRY(name("a place", notation))));
    case Kind::group:
      return PERI_TRY(group());
  }
  PERI_CHECK(false, "a kind of attribute without a reader");
  return false;
}

Result<std::string> TextReader::name(std::string_view what, Notation notation) {
  if (notation == Notation::lua) return quoted();
  return std::string(PERI_TRY(word(what)));
}

void TextReader::skip_space() {
  while (at_ < line_.size() && (line_[at_] == ' ' || line_[at_] == '\t' || line_[at_] == '\r')) ++at_;
}

Result<std::string_view> TextReader::take(std::string_view what, bool (*belongs)(char)) {
  skip_space();
  const size_t begin = at_;
  while (at_ < line_.size() && belongs(line_[at_])) ++at_;
  if (at_ == begin) return expected(what);
  return line_.substr(begin, at_ - begin);
}

// What follows a backslash: itself, or xHH.
Result<char> TextReader::escaped() {
  if (at_ == line_.size()) return expected("a character after the backslash");
  const char c = line_[at_++];
  if (c != 'x') return c;
  const std::string_view digits = line_.substr(at_, 2);
  uint8_t value = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (error != std::errc() || end != digits.data() + 2) return expected("two hexadecimal digits");
  at_ += 2;
  return static_cast<char>(value);
}

}  // namespace peri

// See chunk.hpp.
#include "bindings/lua/chunk.hpp"

#include <cctype>
#include <fstream>
#include <vector>

namespace peri::lua {
namespace {

// Words and single characters with their places; comments, strings and numbers are passed over as one token.
class Lexer {
 public:
  explicit Lexer(std::string_view source) : text_(source) {}

  struct Token {
    std::string_view text;  // empty: the end, or something unfinished
    size_t begin = 0, end = 0;
  };

  Token next() {
    while (skip_space() || skip_comment()) {
    }
    const size_t begin = at_;
    if (at_ >= text_.size()) return {{}, begin, begin};
    const char c = text_[at_];
    if (std::isalpha(static_cast<unsigned char>(c)) || c == '_') {
      while (at_ < text_.size() &&
             (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_'))
        ++at_;
    } else if (c == '"' || c == '\'') {
      for (++at_; at_ < text_.size() && text_[at_] != c; ++at_)
        if (text_[at_] == '\\') ++at_;
      ++at_;
    } else if (!skip_long_bracket()) {
      ++at_;
    }
    at_ = std::min(at_, text_.size());
    return {text_.substr(begin, at_ - begin), begin, at_};
  }

 private:
  bool skip_space() {
    const size_t begin = at_;
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
    return at_ > begin;
  }
  bool skip_comment() {
    if (text_.substr(at_, 2) != "--") return false;
    at_ += 2;
    if (!skip_long_bracket()) at_ = std::min(text_.find('\n', at_), text_.size());
    return true;
  }
  // [[...]], [==[...]==]
  bool skip_long_bracket() {
    if (at_ >= text_.size() || text_[at_] != '[') return false;
    size_t open = at_ + 1;
    while (open < text_.size() && text_[open] == '=') ++open;
    if (open >= text_.size() || text_[open] != '[') return false;
    const std::string close = "]" + std::string(open - at_ - 1, '=') + "]";
    const size_t found = text_.find(close, open + 1);
    at_ = found == std::string_view::npos ? text_.size() : found + close.size();
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
};

bool opens_block(std::string_view word) {
  return word == "function" || word == "do" || word == "then" || word == "repeat";
}
bool closes_block(std::string_view word) {
  return word == "end" || word == "until" || word == "elseif" || word == "else";
}

}  // namespace

std::string without_tail_calls(std::string_view source) {
  struct Insertion {
    size_t at;
    const char* text;
  };
  std::vector<Insertion> insertions;
  std::vector<bool> in_return = {false};  // by open block: between its `return` and its end
  Lexer lexer(source);
  size_t previous_end = 0;
  // A return statement is the last of its block, so it ends where the block does.
  auto end_return = [&] {
    if (in_return.back()) insertions.push_back({previous_end, ")"});
    in_return.back() = false;
  };
  for (Lexer::Token token = lexer.next();; token = lexer.next()) {
    const std::string_view word = token.text;
    if (word.empty() || word == ";") end_return();
    if (word.empty()) break;
    if (closes_block(word)) {
      end_return();
      if (in_return.size() == 1) return std::string(source);  // unbalanced
      in_return.pop_back();
      if (word == "else") in_return.push_back(false);  // `elseif` opens again at its `then`
    } else if (opens_block(word)) {
      in_return.push_back(false);
    } else if (word == "return") {
      Lexer ahead = lexer;
      const std::string_view following = ahead.next().text;
      if (!following.empty() && following != ";" && !closes_block(following)) {
        insertions.push_back({token.end, " _results("});
        in_return.back() = true;
      }
    }
    previous_end = token.end;
  }
  if (in_return.size() != 1) return std::string(source);
  std::string result;
  size_t from = 0;
  for (const Insertion& insertion : insertions) {
    result += source.substr(from, insertion.at - from);
    result += insertion.text;
    from = insertion.at;
  }
  return result += source.substr(from);
}

Status load_file(lua_State* L, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  if (!file.is_open() || file.bad()) return fail(Code::IoError, path + ": cannot be read");
  if (text.starts_with(LUA_SIGNATURE[0]))
    return fail(Code::Unsupported, path + ": compiled Lua, which can't be checked; run its source");
  if (text.starts_with('#')) text.insert(0, "--");  // a script's first line may name its interpreter
  const std::string loaded = without_tail_calls(text);
  if (luaL_loadbufferx(L, loaded.data(), loaded.size(), ("@" + path).c_str(), "t") == 0) return {};
  // Lua's message quotes the source, so it must be the user's own.
  lua_pop(L, 1);
  if (luaL_loadbufferx(L, text.data(), text.size(), ("@" + path).c_str(), "t") == 0) return {};
  return std::unexpected(take_error(L));
}

void register_results(lua_State* L) {
  lua_pushcfunction(
      L, lua_gettop);  // a C function of all its arguments that returns their count: returns them all
  lua_setglobal(L, kResults);
}

}  // namespace peri::lua

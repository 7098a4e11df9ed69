// What can go wrong, and how it travels. Anything that a user, a file, a peer or a device can cause is a
// Result; a broken invariant of our own is a PERI_CHECK. Nothing in Perilune throws.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace peri {

// One paragraph each: what happened, who acts, whether trying again can help. Documented in core/README.md;
// at most 16.
enum class Code : uint8_t {
  InvalidArgument,  // a value, field or option is wrong; the caller mends the call
  ShapeMismatch,    // operands' shapes do not fit together; the caller mends the program
  DTypeMismatch,    // operands' element types do not fit together; the caller mends the program
  NotFound,         // no such op, field, global, file or tensor; the message names the nearest
  Unsupported,      // valid, but this version or this machine cannot do it; the message says what to use
  MalformedFile,    // a file contradicts its own format; nothing outside it was read
  IoError,          // the operating system refused; errno's text is in the message
  OutOfMemory,      // memory of the named kind is exhausted; make the problem or the world smaller
  PeerLost,         // another rank is gone (killed, exited, raised); its own report names the cause
  Timeout,          // another rank did not arrive by the deadline; it is stopped, stuck or slow
  RankMismatch,     // ranks traced different programs or issued different collectives
  Interrupted,      // the user asked to stop (Ctrl-C, SIGTERM)
  ScriptError,      // the user's Lua script raised
  PlanInvalid,      // check_plan refused a plan: a defect of Perilune's, please report it
};

const char* to_string(Code code);

// Where a thing was made: the user's script line. `line` 0 means unknown.
struct Origin {
  std::string file;
  int line = 0;
  bool known() const { return line > 0; }
  std::string to_string() const { return known() ? file + ":" + std::to_string(line) : std::string(); }
  bool operator==(const Origin&) const = default;
};

// A message has this shape: `where: op: message`, then one line per operand, then one
// hint.
struct Error {
  Code code = Code::InvalidArgument;
  std::string message;               // "matmul: inner dimensions differ: 512 (a, dim 2) and 1024 (b, dim 1)"
  Origin where = {};                 // the user's line, when an operation came from a script
  std::vector<std::string> context;  // one line per operand: "a : bf16[64,512]   made at train.lua:33"
  std::string hint = {};             // one sentence, or empty

  // "file:line: message\n   context...\n   hint: ...", without a trailing newline.
  std::string to_string() const;
};

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

// `return fail(Code::NotFound, "...")` in any function that returns a Result.
std::unexpected<Error> fail(Code code, std::string message, Origin where = {}, std::string hint = {});

// Returns the error to the caller, or yields the value.
#define PERI_TRY(expr)                                         \
  ({                                                           \
    auto peri_result_ = (expr);                                \
    if (!peri_result_) [[unlikely]]                            \
      return std::unexpected(std::move(peri_result_).error()); \
    ::peri::detail::take(std::move(peri_result_));             \
  })

namespace detail {
template <class T>
T take(Result<T>&& result) {
  return std::move(*result);
}
inline void take(Status&&) {}
[[noreturn]] void check_failed(const char* condition, const char* file, int line, const char* why);
}  // namespace detail

// Only for our own invariants, never for input.
#define PERI_CHECK(condition, why)                                       \
  do {                                                                   \
    if (!(condition)) [[unlikely]]                                       \
      ::peri::detail::check_failed(#condition, __FILE__, __LINE__, why); \
  } while (false)

// The candidate nearest to `word` (edit distance at most a third of its length), or nothing: for "did you
// mean".
std::optional<std::string> nearest(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace peri

// How an Error is printed, what a broken invariant does, and which known name a misspelt word is nearest to.
#include "core/error.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace peri {

const char* to_string(Code code) {
  switch (code) {
    case Code::InvalidArgument:
      return "InvalidArgument";
    case Code::ShapeMismatch:
      return "ShapeMismatch";
    case Code::DTypeMismatch:
      return "DTypeMismatch";
    case Code::NotFound:
      return "NotFound";
    case Code::Unsupported:
      return "Unsupported";
    case Code::MalformedFile:
      return "MalformedFile";
    case Code::IoError:
      return "IoError";
    case Code::OutOfMemory:
      return "OutOfMemory";
    case Code::PeerLost:
      return "PeerLost";
    case Code::Timeout:
      return "Timeout";
    case Code::RankMismatch:
      return "RankMismatch";
    case Code::Interrupted:
      return "Interrupted";
    case Code::ScriptError:
      return "ScriptError";
    case Code::PlanInvalid:
      return "PlanInvalid";
  }
  return "?";
}

std::string Error::to_string() const {
  std::string text = where.known() ? where.to_string() + ": " + message : message;
  for (const std::string& line : context) text += "\n   " + line;
  if (!hint.empty()) text += "\n   hint: " + hint;
  return text;
}

std::unexpected<Error> fail(Code code, std::string message, Origin where, std::string hint) {
  return std::unexpected(Error{code, std::move(message), std::move(where), {}, std::move(hint)});
}

namespace detail {
void check_failed(const char* condition, const char* file, int line, const char* why) {
  std::fprintf(stderr,
               "%s:%d: internal check failed: %s (%s). This is a defect of Perilune; please report it.\n",
               file, line, why, condition);
  std::abort();
}
}  // namespace detail

namespace {

// Two neighbours exchanged ("pirnt") are one edit, as the finger that made it sees it.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1), above(row), above2(row);  // distances from a's prefix to each of b's
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    above2.swap(above);
    above.swap(row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({substituted, above[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], above2[j - 2] + 1);
    }
  }
  return row[b.size()];
}

}  // namespace

std::optional<std::string> nearest(const std::string& word, const std::vector<std::string>& candidates) {
  const size_t limit = word.size() / 3;
  std::optional<std::string> best;
  size_t best_distance = limit + 1;
  for (const std::string& candidate : candidates) {
    // The lengths alone bound the distance from below, which keeps absurdly long words cheap.
    size_t difference = std::max(word.size(), candidate.size()) - std::min(word.size(), candidate.size());
    if (difference >= best_distance) continue;
    size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace peri

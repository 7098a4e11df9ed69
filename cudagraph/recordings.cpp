// See recordings.hpp.
#include "cudagraph/recordings.hpp"

#include <algorithm>

namespace peri::cudagraph {
namespace {

constexpr size_t kKept = 8;  // for each set of outputs

}  // namespace

const RecordedCall* Recordings::find(size_t set, std::span<const Source> sources) {
  if (set >= by_set_.size()) return nullptr;
  std::list<RecordedCall>& kept = by_set_[set];
  for (auto it = kept.begin(); it != kept.end(); ++it) {
    if (!std::ranges::equal(it->sources, sources)) continue;
    kept.splice(kept.begin(), kept, it);
    return last_ = &kept.front();
  }
  return nullptr;
}

const RecordedCall* Recordings::keep(size_t set, RecordedCall call) {
  if (by_set_.size() <= set) by_set_.resize(set + 1);
  std::list<RecordedCall>& kept = by_set_[set];
  if (kept.size() == kKept) kept.pop_back();
  kept.push_front(std::move(call));
  return last_ = &kept.front();
}

void Recordings::clear() {
  by_set_.clear();
  last_ = nullptr;
}

bool Recordings::is_full(size_t set) const {
  return set < by_set_.size() && by_set_[set].size() == kKept;
}

}  // namespace peri::cudagraph

// See specialisations.hpp.
#include "bindings/compiled/specialisations.hpp"

#include <algorithm>

namespace peri::lua::compiled {
namespace {

// Of one signature so many are kept, for values of the captured variables that come again.
constexpr int64_t kMaxOfSignature = 8;
constexpr size_t kRecent = 2;

}  // namespace

Specialisation* Specialisations::call(size_t place) {
  if (place > 0) {
    std::rotate(recent_.begin(), recent_.begin() + place, recent_.begin() + place + 1);
    release_memory();
  }
  return recent_.front();
}

uint64_t Specialisations::to_drop(const Signature& signature) const {
  int64_t count = 0, of_signature = 0;
  const Specialisation *oldest = nullptr, *oldest_of_signature = nullptr;
  for (const Specialisation* s : recent_) {
    if (s->program.reaches_others) continue;
    ++count;
    oldest = s;
    if (s->signature != signature) continue;
    ++of_signature;
    oldest_of_signature = s;
  }
  if (of_signature >= kMaxOfSignature) return oldest_of_signature->program.number;
  return count >= limit_ ? oldest->program.number : 0;
}

void Specialisations::drop(uint64_t plan) {
  std::erase_if(recent_, [&](const Specialisation* s) { return s->program.number == plan; });
  const auto found = std::ranges::find(all_, plan, [](const auto& s) { return s->program.number; });
  if (found == all_.end()) return;
  if (calls_ > 1) dropped_.push_back(std::move(*found));
  all_.erase(found);
}

// Those that were called last keep their memory, as do others while all together do not have too much.
void Specialisations::release_memory() {
  if (recent_.size() <= kRecent) return;
  const Bytes max_kept = recent_.front()->program.executable->max_kept_bytes();
  Bytes kept = kept_bytes();
  for (size_t i = recent_.size(); i-- > kRecent && kept > max_kept;) {
    cudagraph::Executable& executable = *recent_[i]->program.executable;
    kept -= executable.kept_bytes();
    if (executable.kept_bytes() > Bytes()) executable.release();
  }
}

Specialisation* Specialisations::add(Specialisation made) {
  all_.push_back(std::make_unique<Specialisation>(std::move(made)));
  recent_.push_back(all_.back().get());
  return call(recent_.size() - 1);
}

Bytes Specialisations::kept_bytes() const {
  Bytes bytes;
  for (const Specialisation* s : recent_) bytes += s->program.executable->kept_bytes();
  return bytes;
}

}  // namespace peri::lua::compiled

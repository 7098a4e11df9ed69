// See shared_memory.hpp.
#include "cudagraph/shared_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace peri::cudagraph {
namespace {

// A block that is too small grows by as much again, but by no more than this beyond what is needed.
constexpr Bytes kMaxSpare(256 << 20);
// A block is too large if it is more than so many times what is needed, and larger than a few bytes.
constexpr int64_t kMaxExcess = 4;
constexpr Bytes kSmall(1 << 20);

bool is_too_large(Bytes need, Bytes has) {
  return has > kSmall && has > kMaxExcess * need;
}
bool fits(Bytes need, Bytes has) {
  return need <= has && !is_too_large(need, has);
}

// For larger and larger shapes few blocks are made.
Bytes size_of_next(Bytes need, Bytes has) {
  return need <= has ? need : std::max(need, has + std::min(has, kMaxSpare));
}

// What a member has, and what the largest of its plans needs.
struct State {
  // Which of the group's allocations.
  uint64_t id = 0;
  Bytes has, need;
};

std::string text_of(const State& state) {
  return fmt::format("{} {} {}", state.id, state.has.count(), state.need.count());
}

Result<State> parse(const std::string& text) {
  uint64_t id = 0;
  int64_t has = 0, need = 0;
  const char *at = text.data(), *end = at + text.size();
  bool good = true;
  const auto read = [&](auto& number) {
    const auto [next, error] = std::from_chars(at, end, number);
    good = good && error == std::errc();
    at = next == end ? next : next + 1;
  };
  read(id);
  read(has);
  read(need);
  if (!good || has < 0 || need < 0)
    return fail(Code::RankMismatch, "a peer's need of symmetric memory cannot be read");
  return State{id, Bytes(has), Bytes(need)};
}

}  // namespace

SharedMemory::Share::Share(SharedMemory& memory, Block& block, Bytes bytes)
    : memory_(&memory), block_(&block), need_(block.needs.insert(bytes)) {}

SharedMemory::Share::Share(Share&& other) noexcept
    : memory_(std::exchange(other.memory_, nullptr)), block_(other.block_), need_(other.need_) {}

SharedMemory::Share::~Share() {
  if (memory_) memory_->release(*block_, need_);
}

uint64_t SharedMemory::Share::version() const {
  return block_->version;
}
std::byte* SharedMemory::Share::data() const {
  return block_->storage ? block_->storage->data() : nullptr;
}
const SharedMemory::Kind& SharedMemory::Share::kind() const {
  return block_->kind;
}

Result<SharedMemory::Share> SharedMemory::share(const Kind& kind, Bytes bytes) {
  Block& block = blocks_.try_emplace(kind, Block{.kind = kind}).first->second;
  Share share(*this, block, bytes);
  PERI_TRY(kind.is_symmetric() ? grow_together(block) : grow(block));
  return share;
}

Status SharedMemory::ensure(const Share& share) {
  Block& block = *share.block_;
  return block.kind.is_symmetric() || block.storage ? Status() : grow(block);
}

Status SharedMemory::grow(Block& block) {
  return fits(block.need(), block.bytes()) ? Status() : replace(block, block.need(), block.bytes());
}

// Members may differ in what they have: those whose plans have all been collected have nothing.
Status SharedMemory::grow_together(Block& block) {
  State mine{.has = block.bytes(), .need = block.need()};
  if (const auto* known = block.storage ? backend_.symmetric_memory(*block.storage) : nullptr)
    mine.id = known->id();
  State largest = mine;
  bool same = mine.has > Bytes();
  if (block.kind.group.size() > 1)
    for (const std::string& answer : PERI_TRY(backend_.exchange(
             block.kind.group, text_of(mine), "compile: comparing the ranks' symmetric memory"))) {
      const State other = PERI_TRY(parse(answer));
      same = same && other.id == mine.id && other.has == mine.has;
      largest.has = std::max(largest.has, other.has);
      largest.need = std::max(largest.need, other.need);
    }
  return same && fits(largest.need, mine.has) ? Status() : replace(block, largest.need, largest.has);
}

// The old block lives until there is a new one, if both have room: after an error plans go on with it. All
// members run out of symmetric memory alike.
Status SharedMemory::replace(Block& block, Bytes need, Bytes has) {
  const auto allocate = [&](Bytes bytes) {
    return block.kind.is_symmetric() ? backend_.allocate_symmetric(bytes, block.kind.group)
                                     : backend_.allocate(bytes, block.kind.place);
  };
  const auto is_out_of_memory = [](const auto& made) {
    return !made && made.error().code == Code::OutOfMemory;
  };
  auto made = allocate(size_of_next(need, has));
  if (is_out_of_memory(made) && size_of_next(need, has) > need) made = allocate(need);
  if (is_out_of_memory(made) && block.storage && !block.kind.is_symmetric()) {
    block.storage.reset();
    block.version = ++version_;  // who needs it calls `ensure`
    made = allocate(need);
  }
  block.storage = PERI_TRY(std::move(made));
  block.version = ++version_;
  return {};
}

void SharedMemory::release(Block& block, std::multiset<Bytes>::iterator need) {
  block.needs.erase(need);
  if (block.needs.empty()) {
    blocks_.erase(blocks_.find(block.kind));
  } else if (!block.kind.is_symmetric() && is_too_large(block.need(), block.bytes())) {
    block.storage.reset();
    block.version = ++version_;
  }
}

Bytes SharedMemory::bytes_of(bool symmetric) const {
  Bytes bytes;
  for (const auto& [kind, block] : blocks_)
    if (kind.is_symmetric() == symmetric) bytes += block.bytes();
  return bytes;
}

}  // namespace peri::cudagraph

// Recordings of a plan's captured partitions, and what each is valid for: where the inputs and the captured
// tensors lie, and which set of outputs is written.
#pragma once

#include <list>
#include <memory>
#include <span>
#include <vector>

#include "kernels/backend.hpp"

namespace peri::cudagraph {

// Where a recording finds an input or captured tensor. For symmetric memory the address is not enough: a new
// block that happens to lie where a freed one was is another block to its peers.
struct Source {
  // nullptr if no recording holds it.
  const std::byte* data = nullptr;
  std::weak_ptr<kernels::Storage> symmetric;
  bool operator==(const Source& other) const {
    return data == other.data && !symmetric.owner_before(other.symmetric) &&
           !other.symmetric.owner_before(symmetric);
  }
};

struct RecordedCall {
  // Inputs, then captured tensors.
  std::vector<Source> sources;
  // nullptr where a partition is not captured.
  std::vector<std::unique_ptr<kernels::Recording>> partitions;
};

// A few for each set of outputs, the most recently used first. A call that comes again finds the first.
class Recordings {
 public:
  // The recording that is valid for these; nullptr if there is none.
  const RecordedCall* find(size_t set, std::span<const Source> sources);
  // Forgets the set's least recently used one if they are too many.
  const RecordedCall* keep(size_t set, RecordedCall call);
  void clear();

  // Whether `keep` would forget one.
  bool is_full(size_t set) const;
  // The one that was found or kept last; nullptr if there is none.
  const RecordedCall* last() const { return last_; }

 private:
  std::vector<std::list<RecordedCall>> by_set_;
  const RecordedCall* last_ = nullptr;
};

}  // namespace peri::cudagraph

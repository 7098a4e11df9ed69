// Where a call's inputs and captured tensors are read: where they lie, or in a copy of the executable's own;
// and what is refused because it has no meaning that all plans share.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/error.hpp"
#include "cudagraph/recordings.hpp"
#include "cudagraph/storage.hpp"

namespace peri::cudagraph {

// What a caller passes: the tensors stay his.
using InputTensors = std::span<const kernels::Tensor* const>;

class Inputs {
 public:
  // What it refers to outlives it.
  Inputs(const planner::Plan& plan, PlanStorage& storage, kernels::Backend& backend,
         std::vector<kernels::Tensor> constants);
  // InvalidArgument if an input that is written in place shares memory with another or a captured tensor.
  Status check_aliasing(InputTensors inputs);
  // Points the buffers at the caller's tensors, or at a copy of one that is not contiguous. InvalidArgument
  // for one that must be used where it lies, but is not contiguous.
  Status bind(InputTensors inputs);
  // Where the buffers lie now. Valid until the next call of `bind`.
  std::span<const Source> sources() const { return sources_; }
  // No recording is valid for the sources. Inputs that have moved since `last` (nullptr: none) are counted,
  // and those that keep moving are bound to copies, until they lie still again. True if one is. `full`: a
  // recording will be forgotten for the next.
  Result<bool> copy_moving(InputTensors inputs, const RecordedCall* last, bool full);

  // Of copies; and frees them until they are needed again.
  Bytes bytes() const { return copied_bytes_; }
  void release();

 private:
  struct State {
    bool mutated = false;
    // Symmetric or mutated: it is used where it lies.
    bool in_place = false;
    // Recordings follow it.
    bool followed = false;
    // It keeps moving, as so many misses have shown.
    bool moves = false;
    int misses = 0;
    // Where it lay at the last miss since then, and at how many before.
    const std::byte* missed_at = nullptr;
    int rests = 0;
    // If it has been copied.
    std::shared_ptr<kernels::Storage> copy;
  };
  // An input, or, numbered after them, a captured tensor.
  struct Window {
    const kernels::Storage* storage;
    size_t number;
    const kernels::Tensor* tensor;
  };

  Status bind_constants();
  // Makes `copy`, if there is none, for a tensor.
  Status allocate(std::shared_ptr<kernels::Storage>& copy, const kernels::Tensor& t);
  Status bind_copy(size_t index, const kernels::Tensor& t);
  // Whether an input for which there is no recording is to be copied.
  bool should_copy(size_t index, const kernels::Tensor& t, const RecordedCall& last, bool full);
  // InvalidArgument if windows of one storage overlap and one of the two is written.
  Status check_overlaps(std::span<const Window> windows) const;
  void note_source(size_t index, BufferId id, const std::shared_ptr<kernels::Storage>& storage);

  const planner::Plan& plan_;
  PlanStorage& storage_;
  kernels::Backend& backend_;
  std::vector<kernels::Tensor> constants_;
  // By captured tensor: the copy of one that is not contiguous.
  std::vector<std::shared_ptr<kernels::Storage>> constant_copies_;
  Bytes copied_bytes_;
  std::vector<State> states_;
  bool any_mutated_ = false;
  std::vector<Source> sources_;
  // Scratch of check_aliasing.
  std::vector<Window> windows_;
};

}  // namespace peri::cudagraph

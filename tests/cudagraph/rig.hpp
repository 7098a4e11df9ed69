// What the tests of this layer share: a backend that counts what is allocated and can fail, and a way to call
// an executable with plain numbers. Its recordings have fixed addresses, as a GPU's have, unless a test asks
// for others.
#pragma once

#include <limits>

#include "cudagraph/executable.hpp"
#include "kernels/forwarding_backend.hpp"
#include "tests/planner/programs.hpp"
#include "tests/support/elements.hpp"
#include "tests/support/ranks.hpp"

namespace peri::test {

class CountingBackend : public kernels::ForwardingBackend {
 public:
  using kernels::ForwardingBackend::ForwardingBackend;

  Result<std::shared_ptr<kernels::Storage>> allocate(Bytes bytes, Place place) override {
    if (bytes > max_allocation) return fail(Code::OutOfMemory, "as the test asked");
    auto storage = kernels::ForwardingBackend::allocate(bytes, place);
    if (storage) made_.push_back(*storage);
    return storage;
  }
  Status launch(const KernelSpec& spec, std::span<const kernels::Operand> inputs,
                std::span<const kernels::Operand> outputs) override {
    if (fail_at_launch > 0 && --fail_at_launch == 0) return fail(Code::OutOfMemory, "as the test asked");
    return kernels::ForwardingBackend::launch(spec, inputs, outputs);
  }

  Result<std::unique_ptr<kernels::Recording>> prepare(std::span<const kernels::ProgramStep> steps,
                                                      kernels::Marks marks) override {
    for (const kernels::ProgramStep& step : steps)
      if (std::holds_alternative<kernels::KernelStep>(step) && fail_at_launch > 0 && --fail_at_launch == 0)
        return fail(Code::OutOfMemory, "as the test asked");
    return kernels::ForwardingBackend::prepare(steps, marks);
  }
  Status copy(const kernels::Operand& from, const kernels::Operand& to) override {
    ++copies;
    return kernels::ForwardingBackend::copy(from, to);
  }

  bool follows_blocks() const override { return following && kernels::ForwardingBackend::follows_blocks(); }

  bool following = false;
  Bytes max_allocation{std::numeric_limits<int64_t>::max()};
  int copies = 0;
  int fail_at_launch = 0;  // 1: the next one fails, 2: the one after; 0: none
  int allocations() const { return static_cast<int>(made_.size()); }
  int live() {  // blocks that somebody holds
    return static_cast<int>(std::ranges::count_if(made_, [](const auto& block) { return !block.expired(); }));
  }

 private:
  std::vector<std::weak_ptr<kernels::Storage>> made_;
};

using Floats = std::vector<float>;

// The elements in row-major order of a contiguous f32 tensor.
inline Floats read(kernels::Backend& backend, const kernels::Tensor& t) {
  auto bytes = testing::bytes_of(backend, t);
  if (!bytes) FAIL(bytes.error().to_string());
  Floats values(bytes->size() / 4);
  std::memcpy(values.data(), bytes->data(), bytes->size());
  return values;
}
inline void write(kernels::Backend& backend, const kernels::Tensor& to, const Floats& values) {
  const Value value{to.type, Value::Floats(values.begin(), values.end())};
  if (Status s = testing::write_tensor(backend, to, value); !s) FAIL(s.error().to_string());
}
inline kernels::Tensor blank(kernels::Backend& backend, const Shape& shape) {
  const TensorType type{DType::f32, shape, Place::device};
  Result<std::shared_ptr<kernels::Storage>> storage = backend.allocate(type.bytes(), type.place);
  if (!storage) FAIL(storage.error().to_string());
  return {*storage, type, View::contiguous(shape)};
}
inline kernels::Tensor tensor(kernels::Backend& backend, const Floats& values) {
  const kernels::Tensor t = blank(backend, {static_cast<int64_t>(values.size())});
  write(backend, t, values);
  return t;
}

// One rank alone. What only looks at tensors goes past the counting.
struct Rig {
  std::unique_ptr<kernels::Backend> plain = *tested.create(job_options(1));
  CountingBackend backend{*plain};
  cudagraph::SharedMemory memory{backend};

  std::unique_ptr<cudagraph::Executable> make(const Graph& graph, const planner::Policy& policy = {},
                                              std::vector<kernels::Tensor> constants = {}) {
    auto made = cudagraph::Executable::create(planned(graph, policy, {0, 1}), memory, std::move(constants));
    if (!made) FAIL(made.error().to_string());
    return std::move(*made);
  }
  kernels::Tensor operator()(const Floats& values, Shape shape = {}) {
    if (shape.rank() == 0) shape = {static_cast<int64_t>(values.size())};
    const kernels::Tensor t = blank(backend, shape);
    write(*plain, t, values);
    return t;
  }
  Floats read(const kernels::Tensor& t) { return test::read(*plain, t); }
  // The element that lies `index` elements after the first, in memory.
  void set(const kernels::Tensor& t, int64_t index, float value) {
    kernels::Tensor element = t;
    element.type.shape = element.view.shape = {1};
    element.view.strides = {1};
    element.view.offset += Elements(index);
    write(*plain, element, {value});
  }
};

inline std::vector<kernels::Tensor> call(cudagraph::Executable& executable,
                                         std::vector<kernels::Tensor> inputs) {
  auto outputs = executable.call(inputs);
  if (!outputs) FAIL(outputs.error().to_string());
  return std::move(*outputs);
}
inline double figure(const cudagraph::Executable& executable, const std::string& name) {
  return executable.statistics().at(name);
}

// Every buffer of the plan, but not the caller's inputs.
inline std::vector<const std::byte*> addresses(const cudagraph::Executable& executable) {
  std::vector<const std::byte*> all;
  for (BufferId id : executable.plan().buffers.ids())
    if (executable.plan().buffer(id).kind != planner::BufferKind::input)
      all.push_back(executable.address(id));
  return all;
}

// S5 of planner/SYSTEMS.md: device -> host -> device in the middle: [a b; c d] is doubled (if that is asked
// for), transposed on the host, squared. Gives the squares and the transposed.
inline Graph round_trip(bool captured_before = true) {
  Program p;
  NodeId x = p.input(DType::f32, {2, 2});
  if (captured_before) x = p.op(Op::add, {x, x});
  x = p.op(Op::copy_to, {x}, {{"place", Place::host}});
  x = p.op(Op::contiguous, {p.op(Op::permute, {x}, {{"dims", Ints{1, 0}}})});
  x = p.op(Op::copy_to, {x}, {{"place", Place::device}});
  return p.returning({p.op(Op::mul, {x, x}), x});
}

}  // namespace peri::test

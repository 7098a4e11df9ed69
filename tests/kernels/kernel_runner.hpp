// Runs kernels on values of the reference interpreter: places them in memory in unusual layouts, surrounded
// by guard bytes, and reads results back. The kernels are the host backend's, unless a test program sets
// another backend's (tests/kernels/cuda/): all must pass the same tests.
#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "core/interpreter/interpreter.hpp"
#include "kernels/host/compute/kernel.hpp"
#include "tests/support/elements.hpp"
#include "tests/support/random.hpp"
#include "tests/support/random_program.hpp"

namespace peri::testing {

enum class Style { plain, column_major, gapped, mirrored };
inline constexpr Style kStyles[] = {Style::plain, Style::column_major, Style::gapped, Style::mirrored};

struct Window {
  std::shared_ptr<std::vector<std::byte>> memory;  // shared with the views of it
  DType dtype;
  View view;  // offset from the memory's start
  std::byte* data() const { return memory->data() + bytes_of(view.offset, dtype); }
  OperandType type() const { return {dtype, {view.shape, view.strides, {}}}; }
};

inline View styled(const Shape& shape, Style style) {
  View view = View::contiguous(shape);
  if (style == Style::column_major)
    for (int64_t i = 0, stride = 1; i < shape.rank();
         stride *= std::max<int64_t>(1, shape[static_cast<int>(i++)]))
      view.strides[static_cast<int>(i)] = stride;
  if (style == Style::gapped)
    for (int64_t i = shape.rank() - 1, stride = 2; i >= 0;
         stride = stride * std::max<int64_t>(1, shape[static_cast<int>(i--)]) + 3)
      view.strides[static_cast<int>(i)] = stride;
  if (style == Style::mirrored)
    for (int i = 0; i < shape.rank(); ++i) {
      view.offset += Elements(std::max<int64_t>(0, shape[i] - 1) * view.strides[i]);
      view.strides[i] = -view.strides[i];
    }
  return view;
}

inline constexpr int64_t kGuard = 16;  // elements on both sides
inline constexpr std::byte kPoison{0xA5};

inline Window blank(const TensorType& type, Style style = Style::plain) {
  View view = styled(type.shape, style);
  int64_t end = 1;
  for_each_element(view, [&](int64_t, int64_t offset) { end = std::max(end, offset + 1); });
  view.offset += Elements(kGuard);
  auto bytes = static_cast<size_t>((end + 2 * kGuard) * size_of(type.dtype));
  return {std::make_shared<std::vector<std::byte>>(bytes, kPoison), type.dtype, view};
}

inline Window place(const Value& value, Style style = Style::plain) {
  Window window = blank(value.type, style);
  for_each_element(window.view, [&](int64_t i, int64_t offset) {
    store_element(window.memory->data() + offset * size_of(window.dtype), value, static_cast<size_t>(i));
  });
  return window;
}

inline Value read(const Window& window) {
  Value value = zeros({window.dtype, window.view.shape});
  for_each_element(window.view, [&](int64_t i, int64_t offset) {
    load_element(window.memory->data() + offset * size_of(window.dtype), value, static_cast<size_t>(i));
  });
  return value;
}

// The elements' bytes in row-major order, for comparisons of bits.
inline std::string bits(const Window& window) {
  const auto size = static_cast<size_t>(size_of(window.dtype));
  std::string bytes;
  for_each_element(window.view, [&](int64_t, int64_t offset) {
    bytes.append(reinterpret_cast<const char*>(window.memory->data()) + static_cast<size_t>(offset) * size,
                 size);
  });
  return bytes;
}

// Whether nothing but the window's elements was written since `blank`.
inline bool is_clean_outside(const Window& window) {
  std::vector<std::byte> memory = *window.memory;
  const auto size = static_cast<size_t>(size_of(window.dtype));
  for_each_element(window.view, [&](int64_t, int64_t offset) {
    std::fill_n(memory.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(offset) * size), size,
                kPoison);
  });
  return std::all_of(memory.begin(), memory.end(), [](std::byte b) { return b == kPoison; });
}

// A pointwise op alone is a fused program of one instruction.
inline KernelSpec spec_of(Op op, const Attributes& attributes, std::span<const OperandType> inputs,
                          DType result) {
  KernelSpec spec{op, attributes, {}};
  if (!info(op).has(kPointwise)) return spec;
  FusedInstruction instruction{op, {}, result};
  for (size_t i = 0; i < inputs.size(); ++i) {
    spec.fused.operand_dtypes.push_back(inputs[i].dtype);
    instruction.operands.push_back(static_cast<int>(i));
  }
  spec.fused.instructions = {instruction};
  spec.fused.results = {static_cast<int>(inputs.size())};
  return spec;
}

inline Status launch_on_host(const KernelSpec& spec, std::span<const Window> inputs,
                             std::span<const Window> outputs) {
  std::vector<OperandType> in, out;
  std::vector<std::byte*> in_data, out_data;
  for (const Window& w : inputs) in.push_back(w.type()), in_data.push_back(w.data());
  for (const Window& w : outputs) out.push_back(w.type()), out_data.push_back(w.data());
  auto kernel = PERI_TRY(kernels::host::compile_kernel(spec, in, out));
  kernel->run(in_data, out_data);
  return {};
}

// What `launch` calls. Windows that share memory share it on the device too.
inline Status (*backend_launch)(const KernelSpec&, std::span<const Window>,
                                std::span<const Window>) = launch_on_host;

inline Status launch(const KernelSpec& spec, std::span<const Window> inputs,
                     std::span<const Window> outputs) {
  return backend_launch(spec, inputs, outputs);
}

// One op on values in given layouts; the results' windows.
inline Result<std::vector<Window>> run_op_results(Op op, std::span<const Value> inputs,
                                                  const Attributes& given, Style in = Style::plain,
                                                  Style out = Style::plain) {
  std::vector<TensorType> types;
  std::vector<OperandType> operands;
  std::vector<Window> windows;
  for (const Value& value : inputs) {
    types.push_back(value.type);
    windows.push_back(place(value, in));
    operands.push_back(windows.back().type());
  }
  Attributes attributes = PERI_TRY(complete(op, given, types));
  const ResultTypes made = PERI_TRY(infer_results(op, types, attributes));
  std::vector<Window> results;
  for (size_t i = 0; i < made.size(); ++i) results.push_back(blank(made[i], out));
  PERI_TRY(launch(spec_of(op, attributes, operands, results[0].dtype), windows, results));
  return results;
}
// The first result's.
inline Result<Window> run_op(Op op, std::span<const Value> inputs, const Attributes& given,
                             Style in = Style::plain, Style out = Style::plain) {
  const std::vector<Window> results = PERI_TRY(run_op_results(op, inputs, given, in, out));
  return results[0];
}

// Empty if the kernel agrees with the reference, within the op's tolerance, in all layouts; else what
// differs.
inline std::string disagreement(Op op, const std::vector<Value>& inputs, const Attributes& attributes = {},
                                std::initializer_list<Style> styles = {Style::plain, Style::column_major,
                                                                       Style::gapped, Style::mirrored}) {
  Graph graph;
  std::vector<NodeId> operands;
  for (const Value& value : inputs) {
    Ints shape(value.type.shape.begin(), value.type.shape.end());
    auto input =
        graph.add(Op::input, {},
                  {{"index", int64_t(operands.size())}, {"dtype", value.type.dtype}, {"shape", shape}}, {});
    if (!input) return input.error().to_string();
    operands.push_back(*input);
  }
  auto node = graph.add(op, operands, attributes, {});
  if (!node) return node.error().to_string();
  std::vector<Output> outputs;
  for (NodeId result : graph.add_further_results(*node)) outputs.push_back({result});
  graph.set_outputs(outputs);
  const Arguments arguments{inputs, {}};
  auto expected = expect(graph, std::span(&arguments, 1));
  if (!expected) return expected.error().to_string();
  for (Style in : styles)
    for (Style out : styles) {
      std::string where =
          fmt::format("{} of {} (styles {}, {}): ", to_string(op),
                      inputs.empty() ? "nothing" : inputs[0].type.to_string(), int(in), int(out));
      const Result<std::vector<Window>> results = run_op_results(op, inputs, attributes, in, out);
      if (!results) return where + results.error().to_string();
      for (size_t i = 0; i < results->size(); ++i) {
        if (std::string wrong = difference(read((*results)[i]), *expected, 0, i); !wrong.empty())
          return where + wrong;
        if (!is_clean_outside((*results)[i])) return where + "wrote outside its output";
      }
    }
  return {};
}

// Numbers in [low, high], as their dtype holds them.
inline Value random_value(Random& random, DType dtype, const Shape& shape, double low = -2, double high = 2) {
  Value value = zeros({dtype, shape});
  for (int64_t i = 0; i < numel(shape); ++i) {
    const double number = low + (high - low) * random.unit();
    if (is_float(dtype))
      std::get<Value::Floats>(value.elements)[i] = store(dtype, number);
    else if (dtype == DType::boolean)
      std::get<Value::Integers>(value.elements)[i] = random.below(2);
    else
      std::get<Value::Integers>(value.elements)[i] =
          random.between(dtype == DType::u8 ? 0 : static_cast<int64_t>(low), static_cast<int64_t>(high));
  }
  return value;
}

inline Value integers(DType dtype, const Shape& shape, std::vector<int64_t> elements) {
  return {{dtype, shape}, std::move(elements)};
}
inline Value floats(const Shape& shape, std::vector<double> elements, DType dtype = DType::f32) {
  for (double& element : elements) element = store(dtype, element);
  return {{dtype, shape}, std::move(elements)};
}

inline constexpr DType kDTypes[] = {DType::f32, DType::f16, DType::bf16,   DType::i32,
                                    DType::i64, DType::u8,  DType::boolean};
inline constexpr DType kFloats[] = {DType::f32, DType::f16, DType::bf16};

}  // namespace peri::testing

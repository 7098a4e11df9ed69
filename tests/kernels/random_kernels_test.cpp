// Random programs from the op table, run node by node on the host kernels, against the reference.
#include <catch2/catch.hpp>
#include <map>

#include "core/ops/attributes_of.hpp"
#include "tests/kernels/kernel_runner.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::testing;

namespace {

constexpr int kPrograms = 2000;

// The windows of a program's outputs. One rank: collectives give their operand.
Result<std::vector<Window>> run_program(const Graph& graph, const Arguments& arguments, Random& random) {
  std::map<int, Window> values;
  std::map<int, Window> positions;  // of what a sorting op sorts: its second result
  for (NodeId id : graph.topological_order()) {
    const Node& node = graph.node(id);
    std::vector<Window> operands;
    for (NodeId operand : node.operands) operands.push_back(values.at(operand.index));
    if (node.op == Op::input || node.op == Op::constant) {
      const auto index = static_cast<size_t>(node.attributes.get<"index">());
      values[id.index] = place((node.op == Op::input ? arguments.inputs : arguments.constants)[index],
                               random.pick<Style>({Style::plain, Style::gapped, Style::column_major}));
      continue;
    }
    if (info(node.op).has(kCollective) || node.op == Op::copy_to) {
      values[id.index] = operands[0];
      continue;
    }
    if (info(node.op).has(kView)) {
      auto window = [&](const Window& of) {
        return view_of(node.op, node.attributes, of.view, node.type.shape, 0);
      };
      std::optional<View> view = window(operands[0]);
      if (!view) {
        Window copy = blank({operands[0].dtype, operands[0].view.shape});
        PERI_TRY(launch({.op = Op::contiguous}, operands, std::span(&copy, 1)));
        operands[0] = copy;
        view = window(copy);
      }
      values[id.index] = {operands[0].memory, operands[0].dtype, *view};
      continue;
    }
    if (info(node.op).family == Family::window) {
      Window result = blank(node.type), part = result;
      part.view = *window_of(graph, node.operands[1], node.operands[0], 0);
      part.view.offset += result.view.offset;
      PERI_TRY(launch({.op = Op::contiguous}, std::span(operands).first(1), std::span(&result, 1)));
      PERI_TRY(launch({.op = Op::contiguous}, std::span(operands).last(1), std::span(&part, 1)));
      values[id.index] = result;
      continue;
    }
    if (node.op == Op::result) {
      values[id.index] = positions.at(node.operands[0].index);
      continue;
    }
    std::vector<OperandType> types;
    for (const Window& operand : operands) types.push_back(operand.type());
    const ResultTypes made = graph.result_types(id);
    std::vector<Window> results;
    for (size_t i = 0; i < made.size(); ++i)
      results.push_back(
          blank(made[i], random.pick<Style>({Style::plain, Style::plain, Style::gapped, Style::mirrored})));
    PERI_TRY(launch(spec_of(node.op, node.attributes, types, node.type.dtype), operands, results));
    values[id.index] = results[0];
    if (results.size() > 1) positions[id.index] = results[1];
  }
  std::vector<Window> outputs;
  for (const Output& output : graph.outputs()) outputs.push_back(values.at(output.value.index));
  return outputs;
}

}  // namespace

TEST_CASE("random programs agree with the reference") {
  int agreed = 0;
  for (uint64_t seed = 0; seed < kPrograms; ++seed) {
    const Graph graph = random_program(seed);
    const Arguments arguments = random_arguments(graph, seed, 0);
    auto expected = expect(graph, std::span(&arguments, 1));
    REQUIRE(expected);
    Random random(seed);
    host::set_thread_count(static_cast<int>(1 + seed % 2));
    auto outputs = run_program(graph, arguments, random);
    std::string wrong = outputs ? "" : outputs.error().to_string();
    for (size_t i = 0; wrong.empty() && i < outputs->size(); ++i)
      wrong = difference(read((*outputs)[i]), *expected, 0, i);
    if (wrong.empty()) {
      ++agreed;
      continue;
    }
    FAIL_CHECK("seed " << seed << ": " << wrong << "\n" << print(graph));
    if (seed + 1 - static_cast<uint64_t>(agreed) == 5) break;  // enough to see what they share
  }
  host::set_thread_count(1);
  CHECK(agreed == kPrograms);
}

// The text form of a graph: `print`, and `parse`, which reads back exactly what was printed and survives
// anything else.
//
// clang-format off
//   %0 = input(index=0, dtype=f32, shape=[2,3], place=device) : f32[2,3] name "x" in symmetric{0,1}  @ model.lua:3
//   %1 = sum(%0, dims=[2], keepdim=false) : f32[2]  @ model.lua:4
//   return %1, %0 -> input 0
// clang-format on
//
// Dimensions and slice's start count from 1, as in Lua; ids, indices of inputs and ranks from 0. Name,
// allocator and origin are left out where there are none. `-> input 0` is a value that is written back to
// that input instead of being returned.
#include <fmt/format.h>

#include "core/graph/graph.hpp"
#include "core/graph/reader.hpp"

namespace peri {

namespace {

bool counts_from_one(Kind kind) {
  return kind == Kind::dim || kind == Kind::dims || kind == Kind::index;
}

// --- printing ---

std::string print_attribute(Kind kind, AttributeValue value) {
  if (counts_from_one(kind)) {
    if (int64_t* dim = std::get_if<int64_t>(&value)) ++*dim;
    if (Ints* dims = std::get_if<Ints>(&value))
      for (int64_t& dim : *dims) ++dim;
  }
  return to_string(value);
}

void print_node(std::string& text, NodeId id, const Node& node) {
  text += fmt::format("{} = {}(", to_string(id), to_string(node.op));
  std::string_view separator = "";
  for (NodeId operand : node.operands) {
    text += fmt::format("{}{}", separator, to_string(operand));
    separator = ", ";
  }
  for (const AttributeInfo& attribute : info(node.op).attributes) {
    text += fmt::format("{}{}={}", separator, attribute.name,
                        print_attribute(attribute.kind, *node.attributes.find(attribute.name)));
    separator = ", ";
  }
  text += fmt::format(") : {}", node.type.to_string());
  if (!node.name.empty()) text += " name " + quote(node.name);
  if (node.allocator != Allocator(DefaultAllocator{})) text += " in " + to_string(node.allocator);
  if (node.origin != Origin{}) text += "  @ " + origin_text(node.origin);
  text += '\n';
}

// --- parsing ---

// A node that an earlier line made.
Result<NodeId> parse_operand(TextReader& reader, int count) {
  PERI_TRY(reader.expect("%"));
  const int32_t index = PERI_TRY(reader.number<int32_t>("the number of a node"));
  if (index < 0 || index >= count)
    return fail(Code::MalformedFile, fmt::format("%{} is not defined above", index));
  return NodeId(index);
}

Status parse_attribute(TextReader& reader, const OpInfo& row, Attributes& attributes) {
  const std::string_view name = PERI_TRY(reader.word("an argument"));
  PERI_TRY(reader.expect("="));
  for (const AttributeInfo& attribute : row.attributes) {
    if (attribute.name != name) continue;
    if (attributes.find(name))
      return fail(Code::MalformedFile, fmt::format("argument {} is given twice", name));
    attributes.set(name, PERI_TRY(reader.value(attribute.kind, Notation::graph)));
    return {};
  }
  return fail(Code::NotFound, fmt::format("{} has no argument named {}", row.name, name));
}

Status parse_node(TextReader& reader, Graph& graph) {
  PERI_TRY(reader.expect("%"));
  if (PERI_TRY(reader.number<int32_t>("the number of a node")) != graph.size())
    return fail(Code::MalformedFile,
                fmt::format("nodes are numbered in order; the next is %{}", graph.size()));
  PERI_TRY(reader.expect("="));
  const std::string_view name = PERI_TRY(reader.word("an operation"));
  const std::optional<Op> op = find_op(name);
  if (!op) {
    const std::optional<std::string> near = nearest(std::string(name), op_names());
    return fail(Code::NotFound, fmt::format("no operation named {}", name), {},
                near ? fmt::format("did you mean {}?", *near) : "");
  }
  PERI_TRY(reader.expect("("));
  std::vector<NodeId> operands;
  Attributes attributes;
  if (!reader.accept(")")) {
    do {
      TextReader ahead = reader;
      if (ahead.accept("%"))
        operands.push_back(PERI_TRY(parse_operand(reader, graph.size())));
      else
        PERI_TRY(parse_attribute(reader, info(*op), attributes));
    } while (reader.accept(","));
    PERI_TRY(reader.expect(")"));
  }
  PERI_TRY(reader.expect(":"));
  const TensorType written = PERI_TRY(reader.type());
  std::string label;
  if (reader.accept("name")) label = PERI_TRY(reader.quoted());
  Allocator allocator;
  if (reader.accept("in")) {
    PERI_TRY(reader.expect("symmetric"));
    allocator = SymmetricAllocator{PERI_TRY(reader.group())};
  }
  Origin origin;
  if (reader.accept("@")) origin = PERI_TRY(reader.origin());
  if (!reader.at_end()) return reader.expected("the end of the line");

  const NodeId id = PERI_TRY(graph.add(*op, std::move(operands), std::move(attributes), std::move(origin),
                                       std::move(label), std::move(allocator)));
  const TensorType& inferred = graph.node(id).type;
  if (inferred == written) return {};
  return fail(Code::MalformedFile,
              fmt::format("the type is {}, and {} is written", inferred.to_string(), written.to_string()));
}

Status parse_return(TextReader& reader, Graph& graph) {
  std::vector<Output> outputs;
  if (!reader.at_end()) {
    do {
      Output output{PERI_TRY(parse_operand(reader, graph.size()))};
      if (reader.accept("->")) {
        PERI_TRY(reader.expect("input"));
        output.mutated_input = PERI_TRY(reader.number<int>("the index of an input"));
      }
      outputs.push_back(output);
    } while (reader.accept(","));
    if (!reader.at_end()) return reader.expected("the end of the line");
  }
  graph.set_outputs(std::move(outputs));
  return {};
}

}  // namespace

std::string print(const Graph& graph) {
  std::string text;
  for (int i = 0; i < graph.size(); ++i) print_node(text, NodeId(i), graph.node(NodeId(i)));
  text += "return";
  std::string_view separator = " ";
  for (const Output& output : graph.outputs()) {
    text += fmt::format("{}{}", separator, to_string(output.value));
    if (output.mutated_input != -1) text += fmt::format(" -> input {}", output.mutated_input);
    separator = ", ";
  }
  return text + '\n';
}

Result<Graph> parse(std::string_view text) {
  Graph graph;
  bool returned = false;
  for (int number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    TextReader reader(line);
    if (reader.at_end()) continue;
    Status parsed;
    if (returned) {
      parsed = fail(Code::MalformedFile, "there is text after the return");
    } else if (reader.accept("return")) {
      returned = true;
      parsed = parse_return(reader, graph);
    } else {
      parsed = parse_node(reader, graph);
    }
    if (!parsed) {
      Error error = std::move(parsed).error();
      error.message = fmt::format("line {}: {}", number, error.message);
      return std::unexpected(std::move(error));
    }
  }
  if (!returned) return fail(Code::MalformedFile, "the last line, `return ...`, is missing");
  return graph;
}

}  // namespace peri

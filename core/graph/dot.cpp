// A graph as Graphviz draws it: sources are ellipses, collectives are filled, outputs have a double border.
#include <fmt/format.h>

#include "core/graph/graph.hpp"

namespace peri {

namespace {

// DOT reads \n in a label as a line break and everything else but \" literally.
std::string label(std::string_view text) {
  std::string escaped;
  for (char c : text) {
    if (c == '"' || c == '\\') escaped += '\\';
    escaped += c == '\n' || c == '\r' ? ' ' : c;
  }
  return escaped;
}

}  // namespace

std::string print_dot(const Graph& graph) {
  std::vector<bool> is_output(static_cast<size_t>(graph.size()), false);
  for (const Output& output : graph.outputs()) is_output[static_cast<size_t>(output.value.index)] = true;

  std::string text = "digraph peri {\n  node [shape=box, fontname=monospace];\n";
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(NodeId(i));
    std::string title = label(fmt::format("{} {}", to_string(NodeId(i)), to_string(node.op)));
    if (!node.name.empty()) title += " " + label(node.name);
    title += "\\n" + label(node.type.to_string());
    if (node.origin.known()) title += "\\n" + label(node.origin.to_string());
    text += fmt::format("  n{} [label=\"{}\"{}{}{}];\n", i, title,
                        info(node.op).has(kSource) ? ", shape=ellipse" : "",
                        info(node.op).has(kCollective) ? ", style=filled, fillcolor=lightblue" : "",
                        is_output[static_cast<size_t>(i)] ? ", peripheries=2" : "");
    for (NodeId operand : node.operands) text += fmt::format("  n{} -> n{};\n", operand.index, i);
  }
  return text + "}\n";
}

}  // namespace peri

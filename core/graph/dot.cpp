// A graph as Graphviz draws it: sources are ellipses, collectives are filled, outputs have a double border.
#include <fmt/format.h>

#include "core/graph/graph.hpp"
#include "core/store.hpp"

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
  Store<NodeId, bool> is_output(graph.size(), false);
  for (const Output& output : graph.outputs()) is_output[output.value] = true;

  std::string text = "digraph peri {\n  node [shape=box, fontname=monospace];\n";
  for (NodeId id : is_output.ids()) {
    const Node& node = graph.node(id);
    std::string title = label(fmt::format("{} {}", to_string(id), to_string(node.op)));
    if (!node.name.empty()) title += " " + label(node.name);
    title += "\\n" + label(node.type.to_string());
    if (node.origin.known()) title += "\\n" + label(node.origin.to_string());
    text += fmt::format("  n{} [label=\"{}\"{}{}{}];\n", id.index, title,
                        info(node.op).has(kSource) ? ", shape=ellipse" : "",
                        info(node.op).has(kCollective) ? ", style=filled, fillcolor=lightblue" : "",
                        is_output[id] ? ", peripheries=2" : "");
    for (NodeId operand : node.operands) text += fmt::format("  n{} -> n{};\n", operand.index, id.index);
  }
  return text + "}\n";
}

}  // namespace peri

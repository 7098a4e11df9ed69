// Whether a compiled function still does what was compiled, for functions that check each call.
#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "bindings/compiled/function.hpp"
#include "core/ops/attributes_of.hpp"

namespace peri::lua::compiled {
namespace {

std::unexpected<Error> differs(const LuaCompiled& compiled, const std::string& what,
                               std::vector<std::string> context) {
  return std::unexpected(Error{
      .code = Code::InvalidArgument,
      .message = fmt::format("the function at {} does not do what was compiled; {}", compiled.name, what),
      .context = std::move(context),
      .hint = "what it reads beside its arguments and what it captures must stay as it was at its first "
              "call: `peri help compile`"});
}

// A graph's text by line, without the lines that made its inputs and constants: they differ from call to
// call.
std::vector<std::string> lines_of(const Graph& graph) {
  std::vector<std::string> lines;
  std::istringstream text(print(graph));
  for (std::string line; std::getline(text, line);) {
    if (line.find(" = input(") != line.npos || line.find(" = constant(") != line.npos)
      line.erase(std::min(line.rfind("  @ "), line.size()));
    lines.push_back(std::move(line));
  }
  return lines;
}

Status check_graphs(const LuaCompiled& compiled, const Graph& before, const Graph& now) {
  const std::vector<std::string> a = lines_of(before), b = lines_of(now);
  const auto [in_a, in_b] = std::ranges::mismatch(a, b);
  if (in_a == a.end() && in_b == b.end()) return {};
  const std::string end = "(the program ends before)";
  return differs(
      compiled, fmt::format("the first difference is line {}", in_a - a.begin() + 1),
      {"compiled : " + (in_a == a.end() ? end : *in_a), "now      : " + (in_b == b.end() ? end : *in_b)});
}

bool is_same(const kernels::Tensor& a, const kernels::Tensor& b) {
  return a.storage == b.storage && a.view == b.view && a.type == b.type;
}

bool are_same(const std::vector<kernels::Tensor>& a, const std::vector<kernels::Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), is_same);
}

bool is_same(const session::Returned& a, const session::Returned& b) {
  return a.from == b.from && a.index == b.index && is_same(a.captured, b.captured) &&
         std::equal(
             a.views.begin(), a.views.end(), b.views.begin(), b.views.end(),
             [](const auto& x, const auto& y) { return x.op == y.op && x.attributes == y.attributes; });
}

bool is_same(const Assigned& a, const Assigned& b) {
  return a.captured == b.captured && a.value == b.value;
}

}  // namespace

Status check_traced(const LuaCompiled& compiled, const Specialisation& entry, const Traced& now) {
  const Graph& graph = entry.program.graph;
  const Traced& before = entry.traced;
  PERI_TRY(check_graphs(compiled, graph, now.graph));
  for (const NodeId id : graph.constants()) {
    const Node& node = graph.node(id);
    const auto i = static_cast<size_t>(node.attributes.as<Op::constant>().index);
    if (is_same(before.constants[i], now.constants[i])) continue;
    std::string used;
    for (const NodeId user : graph.users(id))
      if (used.empty()) used = ", used at " + graph.node(user).origin.to_string();
    return differs(
        compiled, fmt::format("{} is another tensor{}", node.name, used),
        {fmt::format("compiled : {}   made at {}", node.type.to_string(), node.origin.to_string())});
  }
  if (!are_same(before.written, now.written))
    return differs(compiled, "it changes another captured tensor in place", {});
  const bool same_results = before.results == now.results &&
                            std::ranges::equal(before.returned, now.returned,
                                               [](const auto& a, const auto& b) { return is_same(a, b); }) &&
                            std::ranges::equal(before.assigned, now.assigned,
                                               [](const auto& a, const auto& b) { return is_same(a, b); });
  if (!same_results) return differs(compiled, "its results differ", {});
  return {};
}

}  // namespace peri::lua::compiled

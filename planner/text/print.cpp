// A plan as text: for people and goldens (`print`), for ranks to agree on (`agreement_text`), and its reasons
// (`explain`).
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/graph/reader.hpp"
#include "core/ops/attributes_of.hpp"
#include "planner/lines.hpp"
#include "planner/text/format.hpp"

namespace peri::planner {
namespace {

// What the text leaves out, because it may differ between ranks of one program.
enum class For : uint8_t { people, agreement };

class Printer {
 public:
  Printer(const Plan& plan, For reader) : plan_(plan), agreement_(reader == For::agreement) {}

  std::string run() {
    if (!agreement_)
      put("plan of rank {} of {}{}\n", plan_.world.rank, plan_.world.size,
          plan_.capture ? "" : ", not captured");
    for (const std::vector<BufferId>* sources : {&plan_.inputs, &plan_.constants})
      for (BufferId id : *sources) put("{} : {}\n", name(id), described(id));
    for (const PlanLine& plan_line : plan_.lines) {
      std::visit([&](const auto& line) { print(line); }, plan_line.line);
      put("{}", plan_line.captured || !plan_.capture ? "" : "  (not captured)");
      if (const Origin* origin = origin_of(plan_line.line); origin && origin->known())
        put("  @ {}", agreement_ ? origin->to_string() : origin_text(*origin));
      put("\n");
    }
    std::vector<std::string> returned, written;
    for (const PlanOutput& output : plan_.outputs)
      (output.mutated_input < 0 ? returned : written).push_back(window(output.value));
    if (!written.empty()) put("mutated {}\n", fmt::join(written, ", "));
    put("return {}\n", fmt::join(returned, ", "));
    return std::move(text_);
  }

 private:
  template <class... Args>
  void put(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
  }

  const std::string& name(BufferId id) const { return plan_.buffer(id).name; }
  std::string group(const Group& g) const {
    return agreement_ ? fmt::format("of {} ranks", g.size()) : g.to_string();
  }
  std::string described(BufferId id) const {
    const Buffer& buffer = plan_.buffer(id);
    return buffer.type.to_string() + (buffer.is_symmetric() ? " symmetric " + group(buffer.group) : "");
  }
  // A value's name ("buf3", or "buf3.1" for what it holds once it is overwritten), or
  // name[shape : strides + offset]. Offsets depend on the rank (shard).
  std::string window(const PlanOperand& operand) const {
    std::string value = name(operand.buffer);
    if (operand.version != 0) value += fmt::format(".{}", operand.version);
    const View& view = operand.type.view;
    if (view == View::contiguous(plan_.buffer(operand.buffer).type.shape)) return value;
    const std::string offset =
        agreement_ || view.offset == Elements() ? "" : fmt::format(" + {}", view.offset.count());
    return fmt::format("{}[{} : {}{}]", value, fmt::join(view.shape.begin(), view.shape.end(), ","),
                       fmt::join(view.strides.begin(), view.strides.end(), ","), offset);
  }
  std::string windows(const std::vector<PlanOperand>& operands) const {
    std::vector<std::string> all;
    for (const PlanOperand& operand : operands) all.push_back(window(operand));
    return fmt::format("{}", fmt::join(all, ", "));
  }

  void print(const AllocateLine& line) {
    const bool comm = plan_.buffer(line.buffer).kind == BufferKind::comm;
    put("{} = {} : {}", name(line.buffer), comm ? "empty_strided_p2p" : "empty_strided",
        described(line.buffer));
  }
  void print(const ReuseLine& line) {
    put("{} = reuse {} : {}", name(line.buffer), name(line.from), described(line.buffer));
  }
  void print(const FreeLine& line) { put("free {}", name(line.buffer)); }
  void print(const InputCopyLine& line) { put("input_copy({}) -> {}", window(line.from), window(line.to)); }
  void print(const DeviceCopyLine& line) { put("device_copy({}) -> {}", window(line.from), window(line.to)); }
  void print(const KernelLine& line) {
    const std::string attributes = line.spec.is_fused() ? line.spec.fused.to_string()
                                                        : lua_attributes(line.spec.op, line.spec.attributes);
    put("{}({}) -> {}{}{}{}", line.identity_copy ? "identity_copy" : line.spec.name(), windows(line.inputs),
        windows(line.outputs), attributes.empty() ? "" : "  {", attributes, attributes.empty() ? "" : "}");
  }
  void print(const CollectiveLine& line) {
    const CollectiveSpec& spec = line.spec;
    if (line.is_fallback()) put("{} = ", line.call_name);
    put("{}({})", to_string(spec.op), windows(line.inputs));
    if (!line.outputs.empty())
      put(" -> {}{}", windows(line.outputs), line.is_fallback() ? " = " + line.call_name + "[1]" : "");
    put("  {{{}group = {}, algorithm = \"{}\"}}", attributes(spec), group(spec.group), spec.algorithm->name);
    if (spec.algorithm->end_barrier) put("{}", spec.end_barrier ? "  end barrier" : "  no end barrier");
    if (!spec.epilogue.empty()) put("  then {}", spec.epilogue.to_string());
  }
  // Peers are this rank's own; a root is compared by its place in the group.
  std::string attributes(const CollectiveSpec& spec) const {
    const Sources sources = spec.info().sources;
    std::string text;
    if (agreement_ && spec.info().has_root())
      text = fmt::format("root = member {}", spec.group.index_of(spec.root));
    else if (!agreement_ || sources != Sources::peer)
      text = lua_attributes(spec.op, attributes_of(spec));
    return text.empty() ? text : text + ", ";
  }

  const Plan& plan_;
  bool agreement_;
  std::string text_;
};

}  // namespace

std::string print(const Plan& plan) {
  return Printer(plan, For::people).run();
}
std::string agreement_text(const Plan& plan) {
  return Printer(plan, For::agreement).run();
}

std::string explain(const Plan& plan) {
  std::string text;
  size_t width = 0;
  for (const Decision& decision : plan.decisions) width = std::max(width, decision.subject.size());
  for (const Decision& decision : plan.decisions)
    text += fmt::format("{:<{}}  {}: {}\n", decision.subject, width, decision.choice, decision.reason);
  if (!plan.decisions.empty()) text += '\n';
  for (const auto& [name, value] : statistics(plan)) text += fmt::format("{:<20} {}\n", name, value);
  return text;
}

}  // namespace peri::planner

// A plan as a Lua program over peri.runtime: what people read, diff and edit, and an
// oracle for the executor. text/README.md describes the primitives. Large plans are cut into functions,
// within LuaJIT's limits.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/ops/attributes_of.hpp"
#include "planner/lines.hpp"
#include "planner/text/format.hpp"

namespace peri::planner {
namespace {

// LuaJIT allows 200 locals in a function and 65,535 constants; beyond this many names they are fields of `b`.
constexpr size_t kMaxLocals = 150;
constexpr size_t kLinesPerFunction = 1000;

constexpr const char* kHeader =
    "-- A plan of Perilune's: run it with `peri run`, read it, edit it. rt.view(buffer, shape, strides, "
    "offset) is a window; its\n"
    "-- strides and offset count elements, and the offset is 0 at the buffer's first. Dimensions count from "
    "1, ranks from 0.\n";

class Writer {
 public:
  explicit Writer(const Plan& plan) : plan_(plan) {
    size_t names = 0;
    for (const Buffer& buffer : plan.buffers) names += buffer.index < 0;
    for (const PlanLine& line : plan.lines)
      if (const auto* call = std::get_if<CollectiveLine>(&line.line)) names += call->is_fallback();
    large_ = names > kMaxLocals;
  }

  std::string run() {
    text_ = kHeader;
    text_ += "local rt = require \"peri.runtime\"\n\n";
    if (large_) write_parts();
    put("return rt.program{{\n  inputs = {{{}}},\n  constants = {{{}}},\n  run = function(arg, const)\n",
        types(plan_.inputs), types(plan_.constants));
    if (large_)
      text_ += "    local b = {}\n    for i = 1, #parts do parts[i](arg, const, b) end\n";
    else
      write_lines(0, plan_.lines.size(), "    ");
    std::vector<std::string> returned;
    for (const PlanOutput& output : plan_.outputs)
      if (output.mutated_input < 0) returned.push_back(window(output.value));
    put("    return {{{}}}\n  end,\n}}\n", fmt::join(returned, ", "));
    return std::move(text_);
  }

 private:
  template <class... Args>
  void put(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
  }

  void write_parts() {
    text_ += "local parts = {}\n";
    for (size_t first = 0, part = 1; first < plan_.lines.size(); first += kLinesPerFunction, ++part) {
      put("parts[{}] = function(arg, const, b)\n", part);
      write_lines(first, std::min(plan_.lines.size(), first + kLinesPerFunction), "  ");
      text_ += "end\n";
    }
    text_ += '\n';
  }

  void write_lines(size_t first, size_t last, const char* indent) {
    for (size_t i = first; i < last; ++i) {
      text_ += indent;
      std::visit([&](const auto& line) { write(line); }, plan_.lines[i].line);
      if (const Origin* origin = origin_of(plan_.lines[i].line); origin && origin->known())
        put("  -- {}", one_line(origin->to_string()));
      text_ += '\n';
    }
  }

  // A file name is the user's: a line break in it must not end the comment.
  static std::string one_line(std::string text) {
    for (char& c : text)
      if (c == '\n' || c == '\r') c = ' ';
    return text;
  }

  // "buf7", or b[7] in a large plan.
  std::string variable(const std::string& name) const { return large_ ? "b[" + name.substr(3) + "]" : name; }
  std::string name(BufferId id) const {
    const Buffer& buffer = plan_.buffer(id);
    switch (buffer.kind) {
      case BufferKind::input:
        return fmt::format("arg[{}]", buffer.index + 1);
      case BufferKind::constant:
        return fmt::format("const[{}]", buffer.index + 1);
      case BufferKind::regular:
      case BufferKind::comm:
      case BufferKind::fallback:
        return variable(buffer.name);
    }
    return {};
  }
  std::string defined(const std::string& name) const { return (large_ ? "" : "local ") + variable(name); }

  std::string window(const PlanOperand& operand) const {
    if (is_whole(plan_, operand)) return name(operand.buffer);
    const View& view = operand.type.view;
    return fmt::format("rt.view({}, {}, {}, {})", name(operand.buffer), lua_dims(view.shape),
                       lua_dims(view.strides), view.offset.count());
  }
  std::string windows(const std::vector<PlanOperand>& operands) const {
    std::vector<std::string> all;
    for (const PlanOperand& operand : operands) all.push_back(window(operand));
    return fmt::format("{}", fmt::join(all, ", "));
  }
  std::string types(const std::vector<BufferId>& sources) const {
    std::vector<std::string> all;
    for (BufferId id : sources) all.push_back(quote(plan_.buffer(id).type.to_string()));
    return fmt::format("{}", fmt::join(all, ", "));
  }
  // "{4, 8}, {8, 1}, "f32"", and the place where it is not the device.
  std::string allocation(BufferId id) const {
    const Buffer& buffer = plan_.buffer(id);
    return fmt::format("{}, {}, \"{}\"{}", lua_dims(buffer.type.shape),
                       lua_dims(contiguous_strides(buffer.type.shape)), to_string(buffer.type.dtype),
                       buffer.type.place == Place::host ? ", \"host\"" : "");
  }

  void write(const AllocateLine& line) {
    const Buffer& buffer = plan_.buffer(line.buffer);
    if (buffer.is_symmetric())
      put("{} = rt.empty_strided_p2p({}, {})", defined(buffer.name), allocation(line.buffer),
          lua_value(Kind::group, buffer.group));
    else
      put("{} = rt.empty_strided({})", defined(buffer.name), allocation(line.buffer));
  }
  void write(const ReuseLine& line) {
    put("{} = rt.reuse({}, {})", defined(plan_.buffer(line.buffer).name), name(line.from),
        allocation(line.buffer));
  }
  void write(const FreeLine& line) { put("rt.free({})", name(line.buffer)); }
  void write(const InputCopyLine& line) { put("rt.input_copy({}, {})", window(line.from), window(line.to)); }
  void write(const DeviceCopyLine& line) {
    put("rt.device_copy({}, {})", window(line.from), window(line.to));
  }

  void write(const KernelLine& line) {
    if (line.spec.is_fused()) {
      put("rt.fused_out({{{}}}, {{{}}}, {})", windows(line.inputs), windows(line.outputs),
          program(line.spec.fused));
      return;
    }
    const std::string attributes = lua_attributes(line.spec.op, line.spec.attributes);
    put("rt.{}_out({}{}{}", to_string(line.spec.op), windows(line.inputs), line.inputs.empty() ? "" : ", ",
        windows(line.outputs));
    if (!attributes.empty()) put(", {{{}}}", attributes);
    text_ += ')';
  }

  // Registers count from 1: the operands, then one per instruction.
  static std::string program(const FusedProgram& fused) {
    std::vector<std::string> operands, items;
    for (DType dtype : fused.operand_dtypes) operands.push_back(fmt::format("\"{}\"", to_string(dtype)));
    items.push_back(fmt::format("operands = {{{}}}", fmt::join(operands, ", ")));
    for (const FusedInstruction& instruction : fused.instructions) {
      std::string item = fmt::format("{} {}", to_string(instruction.op), to_string(instruction.dtype));
      if (instruction.op == Op::full) item += fmt::format(" {}", instruction.value);
      for (int operand : instruction.operands) item += fmt::format(" {}", operand + 1);
      items.push_back(quote(item));
    }
    std::vector<int> results = fused.results;
    for (int& result : results) ++result;
    items.push_back(fmt::format("results = {{{}}}", fmt::join(results, ", ")));
    return fmt::format("{{{}}}", fmt::join(items, ", "));
  }

  void write(const CollectiveLine& line) {
    const CollectiveSpec& spec = line.spec;
    const bool out_variant = !line.outputs.empty() && !line.is_fallback();
    std::vector<std::string> arguments;
    for (const PlanOperand& in : line.inputs) arguments.push_back(window(in));
    if (out_variant)
      for (const PlanOperand& out : line.outputs) arguments.push_back(window(out));
    std::string options = lua_attributes(spec.op, attributes_of(spec));
    options += fmt::format("{}group = {}, algorithm = \"{}\"", options.empty() ? "" : ", ",
                           lua_value(Kind::group, spec.group), spec.algorithm->name);
    if (spec.algorithm->end_barrier && !spec.end_barrier) options += ", end_barrier = false";
    if (!spec.epilogue.program.instructions.empty())
      options += ", epilogue = " + program(spec.epilogue.program);
    if (spec.epilogue.rms_norm_eps) options += ", rms_norm_eps = " + lua_number(*spec.epilogue.rms_norm_eps);
    arguments.push_back("{" + options + "}");
    if (line.is_fallback()) put("{} = ", defined(line.call_name));
    put("rt.{}{}({})", to_string(spec.op), out_variant ? "_out" : "", fmt::join(arguments, ", "));
    if (line.is_fallback())
      put("; {} = {}[1]", defined(plan_.buffer(line.outputs[0].buffer).name), variable(line.call_name));
  }

  const Plan& plan_;
  bool large_ = false;
  std::string text_;
};

}  // namespace

std::string code(const Plan& plan) {
  return Writer(plan).run();
}

}  // namespace peri::planner

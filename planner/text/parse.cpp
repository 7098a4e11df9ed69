// Reads back what `print` writes, and survives anything else: the result need not be a right plan (check_plan
// tells), but every buffer that it names is in its table.
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "core/graph/reader.hpp"
#include "planner/lines.hpp"

namespace peri::planner {
namespace {

std::unexpected<Error> malformed(std::string message) {
  return fail(Code::MalformedFile, std::move(message));
}

// What stands in a call's braces; `algorithm` is no attribute of a message or a barrier, but named all the
// same.
struct Braces {
  Attributes attributes;
  std::string algorithm;
};

Status parse_attribute(TextReader& reader, const OpInfo& row, Braces& braces) {
  const std::string_view name = PERI_TRY(reader.word("an attribute"));
  PERI_TRY(reader.expect("="));
  if (row.has(kCollective) && name == "algorithm") {
    braces.algorithm = PERI_TRY(reader.quoted());
    return {};
  }
  for (const AttributeInfo& attribute : row.attributes) {
    if (attribute.name != name) continue;
    if (braces.attributes.find(name)) return malformed(fmt::format("attribute {} is given twice", name));
    braces.attributes.set(name, PERI_TRY(reader.value(attribute.kind, Notation::lua)));
    return {};
  }
  return malformed(fmt::format("{} has no attribute named {}", row.name, name));
}

// After the opening brace.
Result<Braces> parse_braces(TextReader& reader, const OpInfo& row) {
  Braces braces;
  if (reader.accept("}")) return braces;
  do PERI_TRY(parse_attribute(reader, row, braces));
  while (reader.accept(","));
  PERI_TRY(reader.expect("}"));
  return braces;
}

// "r12".
Result<int> parse_register(TextReader& reader) {
  const std::string_view word = PERI_TRY(reader.word("a register"));
  int number = 0;
  const char* end = word.data() + word.size();
  const auto [stopped, error] = std::from_chars(word.data() + 1, end, number);
  if (word[0] != 'r' || error != std::errc() || stopped != end || number < 0)
    return reader.expected("a register, such as r0");
  return number;
}

Result<std::vector<int>> parse_registers(TextReader& reader, std::string_view close) {
  std::vector<int> registers;
  if (!close.empty() && reader.accept(close)) return registers;
  do registers.push_back(PERI_TRY(parse_register(reader)));
  while (reader.accept(","));
  if (!close.empty()) PERI_TRY(reader.expect(close));
  return registers;
}

// "r3 = add(r0, r1) : f32", or "r3 = full(0.5) : f32".
Result<FusedInstruction> parse_instruction(TextReader& reader, int number) {
  if (PERI_TRY(parse_register(reader)) != number)
    return malformed(fmt::format("registers are numbered in order; the next is r{}", number));
  PERI_TRY(reader.expect("="));
  const std::string_view name = PERI_TRY(reader.word("an instruction"));
  const std::optional<Op> op = find_op(name);
  if (!op) return malformed(fmt::format("no instruction named {}", name));
  FusedInstruction instruction{*op, {}, DType::f32};
  PERI_TRY(reader.expect("("));
  if (*op == Op::full) {
    instruction.value = PERI_TRY(reader.number<double>("a number"));
    PERI_TRY(reader.expect(")"));
  } else {
    instruction.operands = PERI_TRY(parse_registers(reader, ")"));
  }
  PERI_TRY(reader.expect(":"));
  instruction.dtype = PERI_TRY(parse_dtype(PERI_TRY(reader.word("a dtype"))));
  return instruction;
}

// After "{(": "f32, bf16) r2 = add(r0, r1) : f32; r3 = full(0.5) : f32 -> r3}".
Result<FusedProgram> parse_program(TextReader& reader) {
  FusedProgram program;
  if (!reader.accept(")")) {
    do program.operand_dtypes.push_back(PERI_TRY(parse_dtype(PERI_TRY(reader.word("a dtype")))));
    while (reader.accept(","));
    PERI_TRY(reader.expect(")"));
  }
  do {
    const size_t number = program.operand_dtypes.size() + program.instructions.size();
    program.instructions.push_back(PERI_TRY(parse_instruction(reader, static_cast<int>(number))));
  } while (reader.accept(";"));
  PERI_TRY(reader.expect("->"));
  program.results = PERI_TRY(parse_registers(reader, ""));
  PERI_TRY(reader.expect("}"));
  return program;
}

// After "then": "{(f32, f32) r2 = add(r0, r1) : f32 -> r2} rms_norm {eps = 1e-05}", or either alone.
Result<Epilogue> parse_epilogue(TextReader& reader) {
  Epilogue epilogue;
  if (reader.accept("{")) {
    PERI_TRY(reader.expect("("));
    epilogue.program = PERI_TRY(parse_program(reader));
  }
  if (reader.accept("rms_norm")) {
    for (const char* token : {"{", "eps", "="}) PERI_TRY(reader.expect(token));
    epilogue.rms_norm_eps = PERI_TRY(reader.number<double>("a number"));
    PERI_TRY(reader.expect("}"));
  }
  if (epilogue.empty()) return reader.expected("an epilogue");
  return epilogue;
}

class PlanReader {
 public:
  Result<Plan> run(std::string_view text) {
    for (int number = 1; !text.empty(); ++number) {
      const std::string_view line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(text.size(), line.size() + 1));
      TextReader reader(line);
      if (reader.at_end()) continue;
      Status parsed = parse_line(reader);
      if (parsed && !reader.at_end()) parsed = reader.expected("the end of the line");
      if (parsed) continue;
      Error error = std::move(parsed).error();
      error.message = fmt::format("line {}: {}", number, error.message);
      return std::unexpected(std::move(error));
    }
    if (!returned_) return malformed("the last line, `return ...`, is missing");
    plan_.outputs.insert(plan_.outputs.end(), mutated_.begin(), mutated_.end());
    return std::move(plan_);
  }

 private:
  Status parse_line(TextReader& reader) {
    if (returned_) return malformed("there is text after the return");
    if (!started_) return parse_header(reader);
    if (reader.accept("return")) {
      returned_ = true;
      if (reader.at_end()) return {};
      for (const PlanOperand& value : PERI_TRY(windows(reader))) plan_.outputs.push_back({value});
      return {};
    }
    if (reader.accept("mutated")) {
      for (const PlanOperand& value : PERI_TRY(windows(reader)))
        mutated_.push_back({value, plan_.buffer(value.buffer).index});
      return {};
    }
    TextReader ahead = reader;
    if (ahead.word("") && ahead.accept(":")) return parse_source(reader);
    PlanLine line{PERI_TRY(parse_body(reader)), plan_.capture};
    if (reader.accept("(")) {
      for (const char* token : {"not", "captured", ")"}) PERI_TRY(reader.expect(token));
      line.captured = false;
    }
    Origin origin;
    if (reader.accept("@")) origin = PERI_TRY(reader.origin());
    if (Origin* place = origin_of(line.line))
      *place = std::move(origin);
    else if (origin != Origin())
      return malformed("lines about storage have no origin");
    plan_.lines.push_back(std::move(line));
    return {};
  }

  // "plan of rank 0 of 2", "plan of rank 0 of 2, not captured".
  Status parse_header(TextReader& reader) {
    for (const char* token : {"plan", "of", "rank"}) PERI_TRY(reader.expect(token));
    plan_.world.rank = PERI_TRY(reader.number<int>("a rank"));
    PERI_TRY(reader.expect("of"));
    plan_.world.size = PERI_TRY(reader.number<int>("a number of ranks"));
    if (reader.accept(",")) {
      for (const char* token : {"not", "captured"}) PERI_TRY(reader.expect(token));
      plan_.capture = false;
    }
    started_ = true;
    return {};
  }

  // "arg0 : f32[4,8] symmetric {0,1}", "const1 : f32[3] on host".
  Status parse_source(TextReader& reader) {
    const std::string name(PERI_TRY(reader.word("a buffer")));
    if (!plan_.lines.empty()) return malformed("inputs and constants come before all lines");
    const bool input = name.starts_with("arg");
    std::vector<BufferId>& sources = input ? plan_.inputs : plan_.constants;
    if (name != fmt::format("{}{}", input ? "arg" : "const", sources.size()))
      return malformed("inputs are arg0, arg1, ..., constants const0, const1, ..., in order");
    PERI_TRY(reader.expect(":"));
    const BufferKind kind = input ? BufferKind::input : BufferKind::constant;
    sources.push_back(PERI_TRY(define(name, kind, PERI_TRY(parse_described(reader)))));
    plan_.buffers.back().index = static_cast<int>(sources.size()) - 1;
    return {};
  }

  struct Described {
    TensorType type;
    Group group;
  };
  Result<Described> parse_described(TextReader& reader) {
    Described described{PERI_TRY(reader.type()), {}};
    if (reader.accept("symmetric")) described.group = PERI_TRY(reader.group());
    return described;
  }

  // What each kind of line is printed as.
  Result<Line> parse_body(TextReader& reader) {
    static_assert(std::variant_size_v<Line> == 7, "a kind of line that is not read here");
    if (reader.accept("free")) return FreeLine{PERI_TRY(buffer(reader))};
    if (reader.accept("input_copy")) {
      auto [from, to] = PERI_TRY(from_to(reader));
      return InputCopyLine{from, to, {}};
    }
    if (reader.accept("device_copy")) {
      auto [from, to] = PERI_TRY(from_to(reader));
      return DeviceCopyLine{from, to, {}};
    }
    if (reader.accept("identity_copy")) {
      auto [from, to] = PERI_TRY(from_to(reader));
      KernelLine line = copy_line(from, to, {});
      line.identity_copy = true;
      return line;
    }
    const std::string name(PERI_TRY(reader.word("a call or a buffer")));
    if (!reader.accept("=")) return parse_call(reader, name, "");
    if (reader.accept("reuse")) return parse_reuse(reader, name);
    const bool comm = reader.accept("empty_strided_p2p");
    if (!comm && !reader.accept("empty_strided"))
      return parse_call(reader, std::string(PERI_TRY(reader.word("a call"))), name);
    PERI_TRY(reader.expect(":"));
    Described described = PERI_TRY(parse_described(reader));
    const BufferKind kind = comm ? BufferKind::comm : BufferKind::regular;
    return AllocateLine{PERI_TRY(define(name, kind, std::move(described)))};
  }

  Result<Line> parse_reuse(TextReader& reader, const std::string& name) {
    const BufferId from = PERI_TRY(buffer(reader));
    PERI_TRY(reader.expect(":"));
    const BufferId to = PERI_TRY(define(name, plan_.buffer(from).kind, PERI_TRY(parse_described(reader))));
    plan_.pools.pop_back();
    plan_.buffers.back().pool = plan_.buffer(from).pool;
    return ReuseLine{to, from};
  }

  Result<Line> parse_call(TextReader& reader, const std::string& name, const std::string& call_name) {
    PERI_TRY(reader.expect("("));
    std::vector<PlanOperand> inputs;
    if (!reader.accept(")")) {
      inputs = PERI_TRY(windows(reader));
      PERI_TRY(reader.expect(")"));
    }
    const std::optional<Op> op = find_op(name);
    if (op && info(*op).has(kCollective)) return parse_collective(reader, *op, call_name, std::move(inputs));
    if (!call_name.empty()) return malformed("only a collective allocates its output");
    PERI_TRY(reader.expect("->"));
    KernelLine line;
    line.inputs = std::move(inputs);
    line.outputs = PERI_TRY(windows(reader));
    const bool braces = reader.accept("{");
    if (braces && reader.accept("(")) {
      line.spec.fused = PERI_TRY(parse_program(reader));
      if (line.spec.name() == name) return line;
      return malformed(fmt::format("the call is named {}, and its program {}", name, line.spec.name()));
    }
    constexpr uint32_t kNotKernels = kInternal | kComposite | kView | kPointwise | kDeviceCopy;
    if (!op || (info(*op).traits & kNotKernels) != 0)
      return malformed(fmt::format("no kernel named {}", name));
    line.spec.op = *op;
    std::vector<TensorType> types;
    for (const PlanOperand& in : line.inputs) types.push_back(type_of(in));
    const Braces given = braces ? PERI_TRY(parse_braces(reader, info(*op))) : Braces();
    line.spec.attributes = PERI_TRY(complete(*op, given.attributes, types));
    return line;
  }

  // "-> buf2" or, of a fallback call, "-> buf2 = buf1[1]"; then its braces, its end barrier and its epilogue.
  Result<Line> parse_collective(TextReader& reader, Op op, const std::string& call_name,
                                std::vector<PlanOperand> inputs) {
    CollectiveLine line{{}, std::move(inputs), {}, call_name};
    std::string item;
    if (reader.accept("->")) {
      if (call_name.empty()) {
        line.outputs = PERI_TRY(windows(reader));
      } else {
        item = std::string(PERI_TRY(reader.word("a buffer")));
        PERI_TRY(reader.expect("="));
        PERI_TRY(reader.expect(call_name));
        PERI_TRY(reader.expect("[1]"));
        if (!names_.emplace(call_name, BufferId()).second) return malformed(call_name + " is defined twice");
      }
    }
    if (line.inputs.empty() && line.outputs.empty()) return malformed("a collective without operands");
    const TensorType type = type_of(line.inputs.empty() ? line.outputs[0] : line.inputs[0]);
    PERI_TRY(reader.expect("{"));
    const Braces braces = PERI_TRY(parse_braces(reader, info(op)));
    const Attributes attributes = PERI_TRY(complete(op, braces.attributes, std::span(&type, 1)));
    const AlgorithmInfo* algorithm = PERI_TRY(parse_algorithm(op, braces.algorithm));
    line.spec = collective_spec(op, attributes, *algorithm, {});
    if (reader.accept("no")) line.spec.end_barrier = false;
    if (algorithm->end_barrier)
      for (const char* token : {"end", "barrier"}) PERI_TRY(reader.expect(token));
    if (reader.accept("then")) line.spec.epilogue = PERI_TRY(parse_epilogue(reader));
    if (call_name.empty()) return line;
    const TensorType made = PERI_TRY(infer(line.spec, type));
    line.outputs = {whole(plan_, PERI_TRY(define(item, BufferKind::fallback, {made, {}})))};
    return line;
  }

  // --- names and windows ---

  // A new buffer in a pool of its own.
  Result<BufferId> define(const std::string& name, BufferKind kind, Described described) {
    const auto [defined, added] = names_.try_emplace(name);
    if (!added) return malformed(name + " is defined twice");
    const PoolId pool =
        plan_.pools.push_back({kind, described.type.place, described.group, described.type.bytes()});
    return defined->second = plan_.buffers.push_back(
               {name, kind, described.type, std::move(described.group), -1, pool, {}});
  }

  Result<BufferId> buffer(TextReader& reader) {
    const std::string_view name = PERI_TRY(reader.word("a buffer"));
    const auto found = names_.find(name);
    if (found == names_.end() || !found->second.valid())
      return malformed(fmt::format("{} is not defined above", name));
    return found->second;
  }

  // "buf3", "buf3.1", "buf3[2,8 : 8,1 + 16]".
  Result<PlanOperand> window(TextReader& reader) {
    PlanOperand operand = whole(plan_, PERI_TRY(buffer(reader)));
    if (reader.accept(".")) operand.version = PERI_TRY(reader.number<int32_t>("the number of a value"));
    TextReader ahead = reader;
    if (!ahead.accept("[")) return operand;
    const Ints dims = PERI_TRY(reader.list<int64_t>("[", ":"));
    View& view = operand.type.view;
    view = {PERI_TRY(make_shape(dims)), {}, {}};
    for (size_t i = 0; i < dims.size(); ++i) {
      if (i > 0) PERI_TRY(reader.expect(","));
      view.strides.push_back(PERI_TRY(reader.number<int64_t>("a stride")));
    }
    if (reader.accept("+")) view.offset = Elements(PERI_TRY(reader.number<int64_t>("an offset")));
    PERI_TRY(reader.expect("]"));
    return operand;
  }

  Result<std::vector<PlanOperand>> windows(TextReader& reader) {
    std::vector<PlanOperand> all;
    do all.push_back(PERI_TRY(window(reader)));
    while (reader.accept(","));
    return all;
  }

  // "(arg0) -> buf0".
  Result<std::pair<PlanOperand, PlanOperand>> from_to(TextReader& reader) {
    PERI_TRY(reader.expect("("));
    const PlanOperand from = PERI_TRY(window(reader));
    PERI_TRY(reader.expect(")"));
    PERI_TRY(reader.expect("->"));
    const PlanOperand to = PERI_TRY(window(reader));
    return std::pair(from, to);
  }

  TensorType type_of(const PlanOperand& operand) const {
    return {operand.type.dtype, operand.type.view.shape, plan_.buffer(operand.buffer).type.place};
  }

  Plan plan_;
  std::map<std::string, BufferId, std::less<>> names_;  // not valid: the result of a fallback call
  std::vector<PlanOutput> mutated_;
  bool started_ = false, returned_ = false;
};

}  // namespace

bool Plan::operator==(const Plan& other) const {
  return buffers == other.buffers && pools == other.pools && inputs == other.inputs &&
         constants == other.constants && lines == other.lines && outputs == other.outputs &&
         world.rank == other.world.rank && world.size == other.world.size && capture == other.capture;
}

Result<Plan> parse_plan(std::string_view text) {
  return PlanReader().run(text);
}

}  // namespace peri::planner

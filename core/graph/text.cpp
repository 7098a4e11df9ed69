// The text form of a graph: `print`, and `parse`, which reads back exactly what was printed and survives
// anything else.
//
//   %0 = input(index=0, dtype=f32, shape=[2,3], place=device) : f32[2,3] name "x" in symmetric{0,1}  @
//   model.lua:3 %1 = sum(%0, dims=[2], keepdim=false) : f32[2]  @ model.lua:4 return %1, %0 -> input 0
//
// Dimensions and slice's start count from 1, as in Lua; ids, indices of inputs and ranks from 0. Name,
// allocator and origin are left out where there are none. `-> input 0` is a value that is written back to
// that input instead of being returned.
#include <charconv>
#include <limits>

#include <fmt/format.h>

#include "core/graph/graph.hpp"

namespace peri {

namespace {

bool counts_from_one(Kind kind) {
  return kind == Kind::dim || kind == Kind::dims || kind == Kind::index;
}

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}
bool is_path(char c) {
  return is_word(c) || c == '.' || c == '/' || c == '-' || c == '+';
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

std::string print_origin(const Origin& origin) {
  const bool plain = !origin.file.empty() && std::ranges::all_of(origin.file, is_path);
  return fmt::format("  @ {}:{}", plain ? origin.file : quote(origin.file), origin.line);
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
  if (node.origin != Origin{}) text += print_origin(node.origin);
  text += '\n';
}

// --- parsing ---

// Reads one line from left to right. Every reader either takes what it names or fails and says what it
// expected.
class Reader {
 public:
  explicit Reader(std::string_view line) : line_(line) {}

  bool at_end() {
    skip_space();
    return at_ == line_.size();
  }
  bool accept(std::string_view token) {
    skip_space();
    if (!line_.substr(at_).starts_with(token)) return false;
    // `in` is not the beginning of `index`.
    const size_t after = at_ + token.size();
    if (is_word(token.back()) && after < line_.size() && is_word(line_[after])) return false;
    at_ = after;
    return true;
  }
  Status expect(std::string_view token) {
    if (accept(token)) return {};
    return expected(fmt::format("`{}`", token));
  }
  std::unexpected<Error> expected(std::string_view what) const {
    return fail(Code::MalformedFile, fmt::format("column {}: expected {}", at_ + 1, what));
  }

  Result<std::string_view> word(std::string_view what) { return take(what, is_word); }

  template <class T>
  Result<T> number(std::string_view what) {
    skip_space();
    T value{};
    const char* begin = line_.data() + at_;
    auto [end, error] = std::from_chars(begin, line_.data() + line_.size(), value);
    if (error != std::errc()) return expected(what);
    at_ += static_cast<size_t>(end - begin);
    return value;
  }

  Result<std::string> quoted() {
    PERI_TRY(expect("\""));
    std::string text;
    while (at_ < line_.size() && line_[at_] != '"') {
      char c = line_[at_++];
      if (c == '\\') c = PERI_TRY(escaped());
      text += c;
    }
    if (at_ == line_.size()) return expected("a closing `\"`");
    ++at_;
    return text;
  }

  Result<std::string> path() {
    if (skip_space(); at_ < line_.size() && line_[at_] == '"') return quoted();
    return std::string(PERI_TRY(take("a file name", is_path)));
  }

  // "[1,2]" or "{0,1}".
  template <class T>
  Result<std::vector<T>> list(std::string_view open, std::string_view close) {
    PERI_TRY(expect(open));
    std::vector<T> items;
    if (accept(close)) return items;
    do items.push_back(PERI_TRY(number<T>("a whole number")));
    while (accept(","));
    PERI_TRY(expect(close));
    return items;
  }

  // A node that an earlier line made.
  Result<NodeId> node(int count) {
    PERI_TRY(expect("%"));
    const int32_t index = PERI_TRY(number<int32_t>("the number of a node"));
    if (index < 0 || index >= count)
      return fail(Code::MalformedFile, fmt::format("%{} is not defined above", index));
    return NodeId(index);
  }

 private:
  void skip_space() {
    while (at_ < line_.size() && (line_[at_] == ' ' || line_[at_] == '\t' || line_[at_] == '\r')) ++at_;
  }
  Result<std::string_view> take(std::string_view what, bool (*belongs)(char)) {
    skip_space();
    const size_t begin = at_;
    while (at_ < line_.size() && belongs(line_[at_])) ++at_;
    if (at_ == begin) return expected(what);
    return line_.substr(begin, at_ - begin);
  }
  // What follows a backslash: itself, or xHH.
  Result<char> escaped() {
    if (at_ == line_.size()) return expected("a character after the backslash");
    const char c = line_[at_++];
    if (c != 'x') return c;
    const std::string_view digits = line_.substr(at_, 2);
    uint8_t value = 0;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (error != std::errc() || end != digits.data() + 2) return expected("two hexadecimal digits");
    at_ += 2;
    return static_cast<char>(value);
  }

  std::string_view line_;
  size_t at_ = 0;
};

Result<int64_t> parse_position(Reader& reader) {
  const int64_t position = PERI_TRY(reader.number<int64_t>("a position"));
  if (position == 0) return fail(Code::MalformedFile, "positions count from 1, or from -1 at the last");
  return position > 0 ? position - 1 : position;
}

Result<AttributeValue> parse_value(Reader& reader, Kind kind) {
  switch (kind) {
    case Kind::boolean:
      if (reader.accept("true")) return true;
      PERI_TRY(reader.expect("false"));
      return false;
    case Kind::integer:
      return PERI_TRY(reader.number<int64_t>("a whole number"));
    case Kind::number:
      return PERI_TRY(reader.number<double>("a number"));
    case Kind::string:
    case Kind::reduce:
      return PERI_TRY(reader.quoted());
    case Kind::ints:
    case Kind::shape:
      return PERI_TRY(reader.list<int64_t>("[", "]"));
    case Kind::dim:
    case Kind::index:
      return PERI_TRY(parse_position(reader));
    case Kind::dims: {
      Ints dims = PERI_TRY(reader.list<int64_t>("[", "]"));
      for (int64_t& dim : dims) {
        if (dim == 0) return fail(Code::MalformedFile, "dimensions count from 1, or from -1 at the last");
        if (dim > 0) --dim;
      }
      return dims;
    }
    case Kind::dtype:
      return PERI_TRY(parse_dtype(PERI_TRY(reader.word("a dtype"))));
    case Kind::place:
      return PERI_TRY(parse_place(PERI_TRY(reader.word("a place"))));
    case Kind::group:
      return Group{PERI_TRY(reader.list<int>("{", "}"))};
  }
  PERI_CHECK(false, "a kind of attribute without a reader");
  return false;
}

Status parse_attribute(Reader& reader, const OpInfo& row, Attributes& attributes) {
  const std::string_view name = PERI_TRY(reader.word("an argument"));
  PERI_TRY(reader.expect("="));
  for (const AttributeInfo& attribute : row.attributes) {
    if (attribute.name != name) continue;
    if (attributes.has(name))
      return fail(Code::MalformedFile, fmt::format("argument {} is given twice", name));
    attributes.set(name, PERI_TRY(parse_value(reader, attribute.kind)));
    return {};
  }
  return fail(Code::NotFound, fmt::format("{} has no argument named {}", row.name, name));
}

Status parse_node(Reader& reader, Graph& graph) {
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
      Reader ahead = reader;
      if (ahead.accept("%"))
        operands.push_back(PERI_TRY(reader.node(graph.size())));
      else
        PERI_TRY(parse_attribute(reader, info(*op), attributes));
    } while (reader.accept(","));
    PERI_TRY(reader.expect(")"));
  }
  PERI_TRY(reader.expect(":"));
  const DType dtype = PERI_TRY(parse_dtype(PERI_TRY(reader.word("a dtype"))));
  const Ints dims = PERI_TRY(reader.list<int64_t>("[", "]"));
  TensorType written{dtype, PERI_TRY(make_shape(dims))};
  if (reader.accept("on")) written.place = PERI_TRY(parse_place(PERI_TRY(reader.word("a place"))));
  std::string label;
  if (reader.accept("name")) label = PERI_TRY(reader.quoted());
  Allocator allocator;
  if (reader.accept("in")) {
    PERI_TRY(reader.expect("symmetric"));
    allocator = SymmetricAllocator{Group{PERI_TRY(reader.list<int>("{", "}"))}};
  }
  Origin origin;
  if (reader.accept("@")) {
    origin.file = PERI_TRY(reader.path());
    PERI_TRY(reader.expect(":"));
    origin.line = PERI_TRY(reader.number<int>("a line number"));
  }
  if (!reader.at_end()) return reader.expected("the end of the line");

  const NodeId id = PERI_TRY(graph.add(*op, std::move(operands), std::move(attributes), std::move(origin),
                                       std::move(label), std::move(allocator)));
  const TensorType& inferred = graph.node(id).type;
  if (inferred == written) return {};
  return fail(Code::MalformedFile,
              fmt::format("the type is {}, and {} is written", inferred.to_string(), written.to_string()));
}

Status parse_return(Reader& reader, Graph& graph) {
  std::vector<Output> outputs;
  if (!reader.at_end()) {
    do {
      Output output{PERI_TRY(reader.node(graph.size()))};
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
    Reader reader(line);
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

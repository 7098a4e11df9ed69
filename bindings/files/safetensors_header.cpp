// Checks a safetensors header. Separate from the file handling so that it is a pure function of bytes, which
// is what the fuzzer runs. The JSON is read as events, never as a tree: a hostile header costs no more memory
// than it has bytes.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_set>

#include "bindings/files/safetensors.hpp"

namespace peri::files {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's limit

// A name from a file, fit for a terminal: quoted, control bytes escaped, long ones cut.
std::string shown(const std::string& name) {
  std::string text = "'";
  for (unsigned char byte : name.substr(0, 100)) {
    if (byte < 0x20 || byte == 0x7F)
      text += fmt::format("\\x{:02x}", byte);
    else
      text += static_cast<char>(byte);
  }
  return text + (name.size() > 100 ? "...'" : "'");
}

std::optional<DType> dtype_of(const std::string& name) {
  static const std::map<std::string, DType> dtypes = {
      {"F32", DType::f32}, {"F16", DType::f16}, {"BF16", DType::bf16},   {"I32", DType::i32},
      {"I64", DType::i64}, {"U8", DType::u8},   {"BOOL", DType::boolean}};
  auto found = dtypes.find(name);
  return found == dtypes.end() ? std::nullopt : std::optional(found->second);
}

// Receives the JSON's events; each member returns false, with error_ set, to stop at what is wrong.
class HeaderReader {
 public:
  using json = nlohmann::json;

  HeaderReader(std::string path, size_t data_bytes) : path_(std::move(path)), data_bytes_(data_bytes) {}

  Error take_error() { return std::move(error_); }
  SafetensorsHeader take_header() { return std::move(header_); }

  bool start_object(size_t) {
    if (at_ == At::start) return go(At::tensors);
    if (at_ == At::tensors) {
      if (name_ == "__metadata__") return go(At::metadata);
      entry_ = {};
      entry_.name = name_;
      seen_ = {};
      offsets_.clear();
      return go(At::tensor);
    }
    return unexpected("an object");
  }

  bool key(json::string_t& key) {
    if (at_ == At::tensors) {
      name_ = key;
      return names_.insert(key).second || wrong(fmt::format("{} appears twice", shown(key)));
    }
    field_ = key;
    if (at_ == At::metadata)
      return !header_.metadata.contains(key) ||
             wrong(fmt::format("__metadata__: {} appears twice", shown(key)));
    bool* seen = key == "dtype"          ? &seen_.dtype
                 : key == "shape"        ? &seen_.shape
                 : key == "data_offsets" ? &seen_.offsets
                                         : nullptr;
    if (!seen) return wrong_tensor(fmt::format("unknown field {}", shown(key)));
    if (*seen) return wrong_tensor(fmt::format("{} appears twice", key));
    return *seen = true;
  }

  bool end_object() {
    if (at_ == At::tensor) return end_tensor() && go(At::tensors);
    return go(at_ == At::metadata ? At::tensors : At::end);
  }

  bool start_array(size_t) {
    if (at_ == At::tensor && field_ == "shape") return go(At::shape);
    if (at_ == At::tensor && field_ == "data_offsets") return go(At::offsets);
    return unexpected("an array");
  }
  bool end_array() { return go(At::tensor); }

  bool string(json::string_t& value) {
    if (at_ == At::metadata) {
      header_.metadata[field_] = value;
      return true;
    }
    if (at_ != At::tensor || field_ != "dtype") return unexpected("a string");
    auto dtype = dtype_of(value);
    if (dtype) entry_.dtype = *dtype;
    return dtype || wrong_tensor(fmt::format("dtype {} is not supported", shown(value)), Code::Unsupported,
                                 "Supported are F32, F16, BF16, I32, I64, U8 and BOOL.");
  }

  bool number_unsigned(uint64_t value) {
    if (at_ == At::offsets) {
      offsets_.push_back(value);
      return offsets_.size() <= 2 || wrong_tensor("data_offsets must be two numbers");
    }
    if (at_ != At::shape) return unexpected("a number");
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return wrong_tensor(fmt::format("shape has the dimension {}, which is too large", value));
    if (entry_.shape.rank() == kMaxRank)
      return wrong_tensor(fmt::format("more than {} dimensions are not supported", kMaxRank),
                          Code::Unsupported);
    entry_.shape.push_back(static_cast<int64_t>(value));
    return true;
  }
  bool number_integer(int64_t) { return unexpected("a negative number"); }
  bool number_float(double, const std::string&) {
    return unexpected("a number that is no integer of 64 bits");
  }
  bool null() { return unexpected("null"); }
  bool boolean(bool) { return unexpected("a boolean"); }
  bool binary(json::binary_t&) { return unexpected("binary data"); }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    return wrong(fmt::format("the header is not JSON (at byte {} of it)", position));
  }

  // After the last event: the tensors must cover the data, without overlap and without gap.
  bool end() {
    auto& entries = header_.entries;
    std::sort(entries.begin(), entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
      return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
    });
    size_t covered = 0;
    const SafetensorsEntry* before = nullptr;
    for (const SafetensorsEntry& entry : entries) {
      if (entry.offset < covered)
        return wrong(fmt::format("tensors {} and {} overlap", shown(before->name), shown(entry.name)));
      if (entry.offset > covered)
        return wrong(fmt::format("bytes {} to {} of the data belong to no tensor", covered, entry.offset));
      covered = entry.offset + entry.bytes;
      before = &entry;
    }
    if (covered < data_bytes_)
      return wrong(fmt::format("bytes {} to {} of the data belong to no tensor", covered, data_bytes_));
    return true;
  }

 private:
  enum class At { start, tensors, metadata, tensor, shape, offsets, end };

  bool go(At at) {
    at_ = at;
    return true;
  }

  bool end_tensor() {
    if (!seen_.dtype || !seen_.shape || !seen_.offsets)
      return wrong_tensor(fmt::format("{} is missing", !seen_.dtype   ? "dtype"
                                                       : !seen_.shape ? "shape"
                                                                      : "data_offsets"));
    if (offsets_.size() != 2) return wrong_tensor("data_offsets must be two numbers");
    const auto [begin, end] = std::pair(offsets_[0], offsets_[1]);
    const std::string offsets = fmt::format("data_offsets [{},{}]", begin, end);
    if (end < begin) return wrong_tensor(offsets + " end before they begin");
    if (end > data_bytes_)
      return wrong_tensor(fmt::format("{} end past the file ({} bytes of data)", offsets, data_bytes_));
    auto elements = checked_numel(entry_.shape);
    int64_t bytes = 0;
    if (!elements || __builtin_mul_overflow(*elements, size_of(entry_.dtype), &bytes))
      return wrong_tensor(fmt::format("shape {} has more elements than any file", entry_.shape.to_string()));
    if (end - begin != static_cast<uint64_t>(bytes))
      return wrong_tensor(fmt::format("{} hold {} bytes, and {}{} has {}", offsets, end - begin,
                                      to_string(entry_.dtype), entry_.shape.to_string(), bytes));
    entry_.offset = begin;
    entry_.bytes = static_cast<size_t>(bytes);
    header_.entries.push_back(std::move(entry_));
    return true;
  }

  bool wrong(const std::string& what, Code code = Code::MalformedFile, std::string hint = {}) {
    error_ = Error{code, fmt::format("{}: {}", path_, what), {}, {}, std::move(hint)};
    return false;
  }
  bool wrong_tensor(const std::string& what, Code code = Code::MalformedFile, std::string hint = {}) {
    return wrong(fmt::format("tensor {}: {}", shown(name_), what), code, std::move(hint));
  }
  bool unexpected(const char* what) {
    switch (at_) {
      case At::start:
        return wrong(fmt::format("the header must be an object, not {}", what));
      case At::tensors:
        return wrong(fmt::format("{} must be an object, not {}", shown(name_), what));
      case At::metadata:
        return wrong(fmt::format("__metadata__: {} must be a string, not {}", shown(field_), what));
      case At::tensor:
        return wrong_tensor(fmt::format("{} cannot be {}", field_, what));
      case At::shape:
        return wrong_tensor(fmt::format("a dimension of shape cannot be {}", what));
      case At::offsets:
        return wrong_tensor(fmt::format("one of data_offsets cannot be {}", what));
      case At::end:
        break;
    }
    return wrong("the header goes on after its end");
  }

  std::string path_;
  size_t data_bytes_;
  SafetensorsHeader header_;
  Error error_;
  At at_ = At::start;
  std::string name_, field_;
  std::unordered_set<std::string> names_;
  SafetensorsEntry entry_;
  struct {
    bool dtype = false, shape = false, offsets = false;
  } seen_;
  std::vector<uint64_t> offsets_;
};

}  // namespace

Result<SafetensorsHeader> read_safetensors_header(size_t file_bytes, const ReadAt& read,
                                                  const std::string& path) {
  auto malformed = [&](const std::string& what) {
    return fail(Code::MalformedFile, fmt::format("{}: {}", path, what));
  };
  constexpr size_t kSizeField = 8;
  if (file_bytes < kSizeField)
    return malformed(fmt::format("{} bytes are too few for a safetensors file", file_bytes));
  std::array<std::byte, kSizeField> field;
  PERI_TRY(read(0, field));
  uint64_t header_bytes = 0;
  for (size_t i = kSizeField; i-- > 0;)
    header_bytes = header_bytes << 8 | std::to_integer<uint64_t>(field[i]);
  const size_t rest = file_bytes - kSizeField;
  if (header_bytes > kMaxHeaderBytes)
    return malformed(fmt::format("its header is said to have {} bytes; at most {} are allowed", header_bytes,
                                 kMaxHeaderBytes));
  if (header_bytes > rest)
    return malformed(
        fmt::format("its header is said to have {} bytes, and only {} follow", header_bytes, rest));

  std::string text(header_bytes, '\0');
  PERI_TRY(read(kSizeField, std::as_writable_bytes(std::span(text))));
  HeaderReader reader(path, rest - header_bytes);
  if (!nlohmann::json::sax_parse(text, &reader) || !reader.end()) return std::unexpected(reader.take_error());
  SafetensorsHeader header = reader.take_header();
  header.data_begin = kSizeField + header_bytes;
  return header;
}

Result<SafetensorsHeader> parse_safetensors(std::span<const std::byte> file, const std::string& path) {
  return read_safetensors_header(
      file.size(),
      [&](size_t offset, std::span<std::byte> destination) -> Status {
        std::ranges::copy(file.subspan(offset, destination.size()), destination.begin());
        return {};
      },
      path);
}

}  // namespace peri::files

// Writes a safetensors file in one piece: beside the place it is for, and then renamed into it.
#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "bindings/files/atomic_file.hpp"
#include "bindings/files/safetensors.hpp"

namespace peri::files {
namespace {

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "F32";
    case DType::f16:
      return "F16";
    case DType::bf16:
      return "BF16";
    case DType::i32:
      return "I32";
    case DType::i64:
      return "I64";
    case DType::u8:
      return "U8";
    case DType::boolean:
      return "BOOL";
  }
  return "";
}

Status check(const std::vector<SafetensorsTensor>& tensors) {
  std::set<std::string> names = {"__metadata__"};
  for (const SafetensorsTensor& tensor : tensors) {
    if (!names.insert(tensor.name).second)
      return fail(Code::InvalidArgument,
                  tensor.name == "__metadata__"
                      ? "a tensor cannot be called '__metadata__' in a safetensors file"
                      : fmt::format("tensor '{}' is given twice", tensor.name));
    const int64_t elements = PERI_TRY(checked_numel(tensor.shape));
    int64_t bytes = 0;
    if (__builtin_mul_overflow(elements, size_of(tensor.dtype), &bytes) ||
        static_cast<size_t>(bytes) != tensor.bytes.size())
      return fail(Code::InvalidArgument,
                  fmt::format("tensor '{}' of type {}{} is given with {} bytes", tensor.name,
                              to_string(tensor.dtype), tensor.shape.to_string(), tensor.bytes.size()));
  }
  return {};
}

// The header's size and text, padded so that the data begin at a multiple of 8.
Result<std::string> header_of(const std::vector<SafetensorsTensor>& tensors,
                              const std::map<std::string, std::string>& metadata) {
  try {  // nlohmann::json throws on text that is not UTF-8
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    if (!metadata.empty()) header["__metadata__"] = metadata;
    size_t offset = 0;
    for (const SafetensorsTensor& tensor : tensors) {
      const size_t end = offset + tensor.bytes.size();
      header[tensor.name] = {{"dtype", name_of(tensor.dtype)},
                             {"shape", std::vector<int64_t>(tensor.shape.begin(), tensor.shape.end())},
                             {"data_offsets", {offset, end}}};
      offset = end;
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    std::string size(8, '\0');
    for (size_t i = 0; i < 8; ++i) size[i] = static_cast<char>(static_cast<uint64_t>(text.size()) >> 8 * i);
    return size + text;
  } catch (const nlohmann::json::exception&) {
    return fail(Code::InvalidArgument, "a tensor's name or the metadata of a safetensors file is not UTF-8");
  }
}

}  // namespace

Status write_safetensors(const std::string& path, std::vector<SafetensorsTensor> tensors,
                         const std::map<std::string, std::string>& metadata) {
  PERI_TRY(check(tensors));
  std::sort(tensors.begin(), tensors.end(), [](const SafetensorsTensor& a, const SafetensorsTensor& b) {
    return std::tuple(-size_of(a.dtype), std::string_view(a.name)) <
           std::tuple(-size_of(b.dtype), std::string_view(b.name));
  });
  const std::string header = PERI_TRY(header_of(tensors, metadata));
  AtomicFile file = PERI_TRY(AtomicFile::create(path));
  PERI_TRY(file.write(header.data(), header.size()));
  for (const SafetensorsTensor& tensor : tensors)
    PERI_TRY(file.write(tensor.bytes.data(), tensor.bytes.size()));
  return file.take_place();
}

}  // namespace peri::files

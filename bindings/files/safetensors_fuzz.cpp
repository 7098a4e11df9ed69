// libFuzzer target for the safetensors reader: whatever the bytes, peri::files::parse_safetensors returns,
// and what it accepts lies inside of them. Seeds: `peri_test_bindings "[corpus]"` writes them to the build
// folder. By hand:
//   cmake --preset fuzz && cmake --build --preset fuzz --target safetensors_fuzz &&
//   build/fuzz/safetensors_fuzz CORPUS
#include <cstdlib>

#include "bindings/files/safetensors.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::span<const std::byte> file(reinterpret_cast<const std::byte*>(data), size);
  auto header = peri::files::parse_safetensors(file, "fuzz");
  if (!header) {
    if (header.error().message.empty()) abort();
    return 0;
  }
  unsigned sum = 0;  // the sanitizer sees a read outside
  size_t bytes = 0;
  for (const auto& entry : header->entries) {
    if (entry.bytes != static_cast<size_t>(peri::numel(entry.shape) * peri::size_of(entry.dtype))) abort();
    for (size_t i = 0; i < entry.bytes; ++i) sum += data[header->data_begin + entry.offset + i];
    bytes += entry.bytes;
  }
  if (header->data_begin + bytes != size) abort();
  [[maybe_unused]] volatile unsigned keep = sum;
  return 0;
}

// The files of the code cache.
#include "kernels/cuda/cache.hpp"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include "core/env.hpp"

namespace peri::cuda {
namespace {

// A file is this, the key and the code.
struct FileHeader {
  std::array<char, 16> magic;
  uint64_t key_size, code_size, checksum;  // of key and code
};
constexpr std::array<char, 16> kMagic = {'p', 'e', 'r', 'i', 'l', 'u', 'n', 'e',
                                         ' ', 'c', 'o', 'd', 'e', ' ', '1', '\n'};

}  // namespace

// FNV-1a over 8-byte words, then bytes, with a final mix.
uint64_t content_hash(std::string_view text, uint64_t seed) {
  uint64_t hash = seed ^ text.size();
  auto mix = [&](uint64_t word) {
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 29;
  };
  size_t i = 0;
  for (uint64_t word; i + 8 <= text.size(); i += 8) {
    std::memcpy(&word, text.data() + i, 8);
    mix(word);
  }
  for (; i < text.size(); ++i) mix(static_cast<unsigned char>(text[i]));
  return hash;
}

std::optional<CodeCache> CodeCache::of_user() {
  const Environment& env = environment();
  if (env.xdg_cache_home && env.xdg_cache_home->starts_with('/'))  // others are invalid, says the standard
    return CodeCache(std::filesystem::path(*env.xdg_cache_home) / "perilune");
  if (env.home && env.home->starts_with('/'))
    return CodeCache(std::filesystem::path(*env.home) / ".cache" / "perilune");
  return std::nullopt;
}

std::filesystem::path CodeCache::path(std::string_view key) const {
  return folder_ / fmt::format("{:016x}.cubin", content_hash(key));
}

std::optional<std::string> CodeCache::find(std::string_view key) const {
  std::ifstream file(path(key), std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  FileHeader header;
  if (bytes.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof header);
  const std::string_view content = std::string_view(bytes).substr(sizeof header);
  if (header.magic != kMagic || header.key_size != key.size() || content.size() < key.size() ||
      header.code_size != content.size() - key.size() || !content.starts_with(key) ||
      header.checksum != content_hash(content))
    return std::nullopt;
  return std::string(content.substr(key.size()));
}

void CodeCache::keep(std::string_view key, std::string_view code) const {
  static std::atomic<int> number = 0;
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  const std::filesystem::path target = path(key);
  std::filesystem::path temporary = target;
  temporary += fmt::format(".{}.{}", getpid(), number++);
  std::string content = std::string(key) + std::string(code);
  const FileHeader header{kMagic, key.size(), code.size(), content_hash(content)};
  std::ofstream file(temporary, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&header), sizeof header);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  file.close();
  if (file) std::filesystem::rename(temporary, target, error);
  if (!file || error) std::filesystem::remove(temporary, error);
}

}  // namespace peri::cuda

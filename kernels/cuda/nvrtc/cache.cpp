// The files of the cache.
#include "kernels/cuda/nvrtc/cache.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include "core/env.hpp"

namespace peri::kernels::cuda {
namespace {

// A file is this, the key and the value.
struct FileHeader {
  std::array<char, 16> magic;
  uint64_t key_size, value_size, checksum;  // of key and value
};
constexpr std::array<char, 16> kMagic = {'p', 'e', 'r', 'i', 'l', 'u', 'n', 'e',
                                         ' ', 'c', 'a', 'c', 'h', 'e', ' ', '2'};

// What the bytes of a file hold for `key`, if they are whole and of that key.
std::optional<std::string> value_in(const std::string& bytes, std::string_view key) {
  FileHeader header;
  if (bytes.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof header);
  const std::string_view content = std::string_view(bytes).substr(sizeof header);
  if (header.magic != kMagic || header.key_size != key.size() || content.size() < key.size() ||
      header.value_size != content.size() - key.size() || !content.starts_with(key) ||
      header.checksum != content_hash(content))
    return std::nullopt;
  return std::string(content.substr(key.size()));
}

}  // namespace

// Takes 8 bytes at a time, as device code is long; core/hash.hpp takes one.
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

std::filesystem::path CodeCache::path(std::string_view key, int place) const {
  return folder_ / fmt::format("{:016x}.{}", content_hash(key), place);
}

std::optional<std::string> CodeCache::find(std::string_view key) const {
  for (int place = 0; place < kPlaces; ++place) {
    std::ifstream file(path(key, place), std::ios::binary);
    if (!file) break;  // places are taken in order
    if (auto value = value_in({std::istreambuf_iterator<char>(file), {}}, key)) return value;
  }
  return std::nullopt;
}

std::optional<std::string> CodeCache::keep(std::string_view key, std::string_view value) const {
  if (!is_writable()) return std::nullopt;
  // A name that nobody else has or had: what was linked must not be written again.
  std::string written = folder_ / "writing.XXXXXX";
  const int file = mkstemp(written.data());
  if (file < 0) return std::nullopt;
  std::string content = std::string(key) + std::string(value);
  const FileHeader header{kMagic, key.size(), value.size(), content_hash(content)};
  content.insert(0, reinterpret_cast<const char*>(&header), sizeof header);
  bool is_whole = true;
  for (size_t at = 0; is_whole && at < content.size();) {
    const ssize_t count = write(file, content.data() + at, content.size() - at);
    if (count > 0) at += static_cast<size_t>(count);
    is_whole = count > 0 || (count < 0 && errno == EINTR);
  }
  is_whole &= close(file) == 0;
  std::optional<std::string> first;
  for (int place = 0; is_whole && place < kPlaces && !first; ++place) {
    // If the place is taken, what counts is what is in it.
    if (link(written.c_str(), path(key, place).c_str()) != 0 && errno != EEXIST) break;
    first = find(key);
  }
  unlink(written.c_str());
  return first;
}

bool CodeCache::is_writable() const {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  return access(folder_.c_str(), W_OK | X_OK) == 0;
}

}  // namespace peri::kernels::cuda

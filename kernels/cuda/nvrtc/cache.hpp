// What takes long to find out, kept on disk: compiled device code, and choices that all ranks of a machine
// must share. A value is found by the content of its key, under $XDG_CACHE_HOME/perilune or
// ~/.cache/perilune.
//
// The first writer wins: a file is written under another name and linked into place, which never replaces
// what is there, so that every process sees the same value whoever came first, without locks. A file holds
// its whole key and a checksum; one that is damaged, cut short or foreign is never used, and never touched
// either, as another process could have mended it meanwhile: the key moves on to its next file.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace peri::kernels::cuda {

class CodeCache {
 public:
  explicit CodeCache(std::filesystem::path folder) : folder_(std::move(folder)) {}
  // Where this user's lies; nothing if the environment names no home.
  static std::optional<CodeCache> of_user();

  std::optional<std::string> find(std::string_view key) const;
  // The value that every process finds from now on: `value`, or that of whoever came first. Nothing if it
  // cannot be written: what only saves time needs no more.
  std::optional<std::string> keep(std::string_view key, std::string_view value) const;
  // Whether `keep` may succeed: to be asked before work whose result is only worth keeping.
  bool is_writable() const;

  static constexpr int kPlaces = 4;  // files of one key: all but the last may be unusable
  std::filesystem::path path(std::string_view key, int place = 0) const;

 private:
  std::filesystem::path folder_;
};

uint64_t content_hash(std::string_view text, uint64_t seed = 0xCBF29CE484222325u);

}  // namespace peri::kernels::cuda

// Compiled device code on disk, by content: a file per source text under $XDG_CACHE_HOME/perilune or
// ~/.cache/perilune. A file holds its whole key and a checksum, so that one that is damaged, foreign or of
// another text is never used; it is replaced by renaming, so that processes may write at once.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace peri::cuda {

class CodeCache {
 public:
  explicit CodeCache(std::filesystem::path folder) : folder_(std::move(folder)) {}
  // Where this user's lies; nothing if the environment names no home.
  static std::optional<CodeCache> of_user();

  std::optional<std::string> find(std::string_view key) const;
  // What cannot be written is not kept: the cache only saves time.
  void keep(std::string_view key, std::string_view code) const;
  std::filesystem::path path(std::string_view key) const;

 private:
  std::filesystem::path folder_;
};

uint64_t content_hash(std::string_view text, uint64_t seed = 0xCBF29CE484222325u);

}  // namespace peri::cuda

// `peri explain --html`: one self-contained page per job: figures, decisions, where memory goes line by line,
// the plan's text.
#pragma once

#include <string>
#include <vector>

#include "bindings/session/compiled.hpp"

namespace peri::commands {

struct ReportEntry {
  std::string title;  // "compiled function model.lua:4"
  const session::CompiledProgram* program;
};

// HTML with inline style and SVG, no script and no network; readable in light and dark, and on paper.
std::string html_report(const std::string& script, const std::vector<ReportEntry>& entries);

}  // namespace peri::commands

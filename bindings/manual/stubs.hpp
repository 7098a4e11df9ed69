// What `peri help --stubs` prints: annotations of the Lua API for lua-language-server, so that an editor
// completes and checks `peri.*`, tensors' methods and options tables.
#pragma once

#include <string>

namespace peri::manual {

// A Lua file for the editor's library, never run: made from the op table and the manual's pages.
// tests/e2e/program/stubs.lua compares its names with the live tables'.
std::string editor_stubs();

}  // namespace peri::manual

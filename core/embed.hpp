// Files of the source tree as text in the program.
#pragma once

// PERI_EMBED(name, path): `peri_embedded_name` is the file's text, ending with a zero byte. The assembler
// searches the include directories. No compiler reports the file as a dependency: CMake has to.
#define PERI_EMBED(name, path)                                                                          \
  asm(".pushsection .rodata\n.local peri_embedded_" #name "\nperi_embedded_" #name ":\n.incbin \"" path \
      "\"\n.byte 0\n.popsection\n");                                                                    \
  extern "C" const char peri_embedded_##name[];

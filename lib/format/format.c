/* SPDX-License-Identifier: MIT */
/* The one object of each format, and what must hold of all of them. No code lives here. */
#include "format/format.h"

const struct rhz_format rhz_format_32 = FORMAT_32;
const struct rhz_format rhz_format_pae = FORMAT_PAE;
const struct rhz_format rhz_format_4level = FORMAT_LONG("4-level", 4);
const struct rhz_format rhz_format_5level = FORMAT_LONG("5-level", 5);
const struct rhz_format rhz_format_ept4 = FORMAT_EPT("EPT, 4-level", 4);
const struct rhz_format rhz_format_ept5 = FORMAT_EPT("EPT, 5-level", 5);

/* A table fills a page, and the rights of an entry lie outside its frame. */
_Static_assert(4 << 10 == RHZ_PAGE_SIZE && 8 << 9 == RHZ_PAGE_SIZE, "a table is a page");
_Static_assert(!(PTE_FRAME & (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D | PTE_PS | PTE_G)), "flags");
_Static_assert(!(PTE_FRAME & (PTE_NX | PTE_KEY)), "NX and the key lie above the frame");
_Static_assert(!(PTE_KEY & PTE_NX), "the key is bits 62:59");
_Static_assert(!(PTE_FRAME & (EPT_R | EPT_W | EPT_X | EPT_MT | EPT_IPAT | EPT_PS)), "EPT flags");
_Static_assert(!(PTE_FRAME & (EPT_A | EPT_D | EPT_XU)), "EPT flags");
_Static_assert(!(PTE32_HIGH & PTE32_LARGE_FRAME), "a 4 MiB frame's halves do not meet");

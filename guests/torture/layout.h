/* SPDX-License-Identifier: MIT */
/* Addresses and selectors that C and assembly share. */
#ifndef GUESTS_TORTURE_LAYOUT_H
#define GUESTS_TORTURE_LAYOUT_H

#define SELECTOR_CODE 8
#define SELECTOR_DATA 16
#define SELECTOR_USER_CODE (24 | 3)
#define SELECTOR_USER_DATA (32 | 3)
#define SELECTOR_TSS 40

/* The kernel's part of every address space: memory onto itself below KERNEL_END, and two pages. */
#define KERNEL_END 0x4000000
#define APIC_GVA 0x3fc00000 /* the local APIC */
#define USER_GVA 0x3fe00000 /* the page of operations, for CPL 3 */

#define VECTOR_DONE 0x80 /* INT 80h ends an operation */

/* Offsets in struct touch, eight bytes each. */
#define TOUCH_AX 0
#define TOUCH_CX 8
#define TOUCH_DX 16
#define TOUCH_BX 24
#define TOUCH_SI 32
#define TOUCH_DI 40
#define TOUCH_IP 48
#define TOUCH_SP 56
#define TOUCH_FLAGS 64
#define TOUCH_USER 72
#define TOUCH_VECTOR 80
#define TOUCH_ERROR 88
#define TOUCH_CR2 96

#endif

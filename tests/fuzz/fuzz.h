/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The entry point of a fuzz target, as libFuzzer and replay_main.c call it. */
#ifndef MH_TESTS_FUZZ_H
#define MH_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Always 0; what must not be ends in mh_assert(). */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif

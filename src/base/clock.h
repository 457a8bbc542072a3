/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Time. Deadlines are monotonic milliseconds, immune to clock jumps; dates are wall-clock seconds.
 * Inside a task use mh_now_ms() of base/task.h, which a test can make virtual. Any thread.
 */
#ifndef MH_BASE_CLOCK_H
#define MH_BASE_CLOCK_H

#include "base/macros.h"

#define MH_NEVER INT64_MAX

int64_t mh_clock_mono_ms(void);
int64_t mh_clock_mono_us(void);
int64_t mh_clock_wall_s(void);

#endif

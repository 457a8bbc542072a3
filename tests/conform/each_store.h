/* SPDX-License-Identifier: GPL-3.0-or-later */
/* For tests that every connector for files must pass. One thread. */
#ifndef MH_TESTS_CONFORM_EACH_STORE_H
#define MH_TESTS_CONFORM_EACH_STORE_H

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "connectors/eml/eml.h"
#include "connectors/maildir/maildir.h"
#include "connectors/mbox/mbox.h"
#include "rig.h"

static const struct mh_connector *const file_stores[] = {&mh_maildir, &mh_mbox, &mh_eml};

static inline struct criterion_test_params file_store_params(void)
{
    static size_t numbers[MH_ARRAY_LEN(file_stores)];
    for (size_t i = 0; i < MH_ARRAY_LEN(file_stores); i++)
        numbers[i] = i;
    return cr_make_param_array(size_t, numbers, MH_ARRAY_LEN(file_stores));
}

/* For the BODY of such a test. */
static inline const struct mh_connector *file_store_of(const struct rig *r)
{
    return file_stores[*(const size_t *)r->ctx];
}

/* A test that runs BODY in a rig, with each of them. */
#define EACH_STORE(suite, test, body)                                                              \
    ParameterizedTestParameters(suite, test)                                                       \
    {                                                                                              \
        return file_store_params();                                                                \
    }                                                                                              \
    ParameterizedTest(size_t *nth, suite, test)                                                    \
    {                                                                                              \
        rig_run(body, nth);                                                                        \
    }

#endif

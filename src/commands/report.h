/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Results for people and for programs: tables and JSON (schema 1, design of the command line). Text from
 * servers is made printable. Main thread only.
 */
#ifndef MH_COMMANDS_REPORT_H
#define MH_COMMANDS_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "engine/engine.h"

#define MH_JSON_SCHEMA 1

/* One line; ROOT is given back. */
void report_json(FILE *out, json_t *root_take);
void report_error_json(FILE *out, const char *text, const char *code, int exit_code);
void report_run_json(FILE *out, const struct mh_result *r);
void report_run_text(FILE *out, const struct mh_result *r, const char *state_path);
void report_verify_json(FILE *out, const struct mh_verify_result *r);
void report_verify_text(FILE *out, const struct mh_verify_result *r);
void report_check_json(FILE *out, const struct mh_check_result *r);
void report_map_text(FILE *out, const struct mh_check_result *r);
void report_check_text(FILE *out, const struct mh_check_result *r);

#endif

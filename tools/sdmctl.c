/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sdmctl: a native peer of a master's control socket, without QEMU. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "sdm/boot.h"
#include "tools/sdmctl.h"

#define TIMEOUT_S  5

struct command {
    const char *name;
    const char *summary;
    const GOptionEntry *options;
    gboolean (*run)(struct sdmctl *ctl, GError **error);
};

static const struct command commands[] = {
    { "list", "Show the master's peers", sdmctl_list_options, sdmctl_list },
    { "watch", "Follow what happens to them", sdmctl_watch_options,
      sdmctl_watch },
    { "join", "Stand in as a slave, without QEMU", sdmctl_join_options,
      sdmctl_join },
    { "serve", "Be a master, without QEMU", sdmctl_serve_options,
      sdmctl_serve },
};

static const uint16_t machines[] = {
    SDM_EM_ARM, SDM_EM_AARCH64, SDM_EM_X86_64,
};

static struct sdmctl the_ctl = { .timeout_s = TIMEOUT_S };
static char **arguments;

static const GOptionEntry common_options[] = {
    { "json", 0, 0, G_OPTION_ARG_NONE, &the_ctl.json,
      "Print JSON, an object a line", NULL },
    { "wait", 0, 0, G_OPTION_ARG_NONE, &the_ctl.wait,
      "Wait for a master that is not there, or leaves", NULL },
    { "timeout", 0, 0, G_OPTION_ARG_INT, &the_ctl.timeout_s,
      "Time for a master to admit us (default: 5)", "SECONDS" },
    { "exit-with-parent", 0, 0, G_OPTION_ARG_NONE, &the_ctl.exit_with_parent,
      "End when the parent process does", NULL },
    { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &arguments,
      NULL, "PATH" },
    { 0 }
};

static gboolean want_version;
static gboolean want_capabilities;
static gboolean want_words;

static const GOptionEntry main_options[] = {
    { "version", 0, 0, G_OPTION_ARG_NONE, &want_version,
      "Print the version and end", NULL },
    { "print-capabilities", 0, 0, G_OPTION_ARG_NONE, &want_capabilities,
      "Print what this program can do as JSON and end", NULL },
    { "print-words", 0, 0, G_OPTION_ARG_NONE, &want_words,
      "Print the words that may follow (for shell completion)", NULL },
    { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &arguments,
      NULL, "COMMAND" },
    { 0 }
};

GQuark sdmctl_error_quark(void)
{
    return g_quark_from_static_string("sdmctl-error");
}

/* ----------------------------------------------------------------- the loop */

void sdmctl_end(struct sdmctl *ctl, int status, const char *format, ...)
{
    va_list args;

    if (!ctl->error && format) {
        va_start(args, format);
        ctl->error = g_error_new_valist(SDMCTL_ERROR, status, format, args);
        va_end(args);
    }
    event_base_loopbreak(ctl->base);
}

static void time_is_up(evutil_socket_t fd, short what, void *opaque)
{
    struct sdmctl *ctl = opaque;

    (void)fd;
    (void)what;
    sdmctl_end(ctl, SDMCTL_FAILED, "the master at '%s' did not admit us in %d "
               "seconds: it is stopped or busy; try --timeout", ctl->path,
               ctl->timeout_s);
}

void sdmctl_start_timer(struct sdmctl *ctl)
{
    struct timeval tv = { .tv_sec = ctl->timeout_s };

    event_add(ctl->timer, &tv);
}

void sdmctl_stop_timer(struct sdmctl *ctl)
{
    event_del(ctl->timer);
}

void sdmctl_link_error(int ret, const struct sdm_text *why, GError **error)
{
    g_set_error_literal(error, SDMCTL_ERROR,
                        ret == -ENOENT || ret == -ECONNREFUSED ?
                        SDMCTL_NO_MASTER : SDMCTL_FAILED, why->buf);
}

static void signalled(evutil_socket_t fd, short what, void *opaque)
{
    (void)fd;
    (void)what;
    sdmctl_end(opaque, SDMCTL_OK, NULL);
}

gboolean sdmctl_loop(struct sdmctl *ctl, GError **error)
{
    event_base_dispatch(ctl->base);
    if (ctl->error) {
        g_propagate_error(error, ctl->error);
        ctl->error = NULL;
        return FALSE;
    }
    return TRUE;
}

/* ------------------------------------------------------------------ parsing */

gboolean sdmctl_parse_u64(const char *text, const char *what, uint64_t *value,
                          GError **error)
{
    static const char units[] = "KMGT";
    const char *unit;
    uint64_t v;
    char *end;
    unsigned shift = 0;

    errno = 0;
    v = g_ascii_strtoull(text, &end, 0);
    unit = *end ? strchr(units, g_ascii_toupper(*end)) : NULL;
    if (unit) {
        shift = 10 * (unit - units + 1);
        end++;
    }
    if (!g_ascii_isdigit(text[0]) || *end || errno ||
        v > UINT64_MAX >> shift) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_USAGE,
                    "%s '%s' is no number: give e.g. 4096, 0x1000, 4K or 512M",
                    what, text);
        return FALSE;
    }
    *value = v << shift;
    return TRUE;
}

gboolean sdmctl_parse_machine(const char *text, uint16_t *machine,
                              GError **error)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(machines); i++) {
        if (!strcmp(text, sdm_machine_text(machines[i]))) {
            *machine = machines[i];
            return TRUE;
        }
    }
    g_set_error(error, SDMCTL_ERROR, SDMCTL_USAGE,
                "machine '%s': give arm, aarch64 or x86_64", text);
    return FALSE;
}

/* --------------------------------------------------------------------- main */

static void print_names(const char *key, const char *(*name)(unsigned i))
{
    unsigned i;

    printf(",\"%s\":[", key);
    for (i = 0; name(i); i++) {
        printf("%s\"%s\"", i ? "," : "", name(i));
    }
    printf("]");
}

static const char *command_name(unsigned i)
{
    return i < G_N_ELEMENTS(commands) ? commands[i].name : NULL;
}

static const char *machine_name(unsigned i)
{
    return i < G_N_ELEMENTS(machines) ? sdm_machine_text(machines[i]) : NULL;
}

static void print_capabilities(void)
{
    printf("{\"type\":\"sdmctl\",\"version\":\"%s\","
           "\"protocol\":{\"min\":%u,\"max\":%u},\"max-slaves\":%u",
           PACKAGE_VERSION, SDM_WIRE_VERSION_MIN, SDM_WIRE_VERSION_MAX,
           SDM_MAX_SLAVES);
    print_names("commands", command_name);
    print_names("machines", machine_name);
    print_names("faults", sdmctl_fault_name);
    printf("}\n");
}

static void print_options(const GOptionEntry *options)
{
    for (; options->long_name; options++) {
        if (*options->long_name) {
            printf("--%s\n", options->long_name);
        }
    }
}

static const struct command *find_command(const char *name)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (!strcmp(commands[i].name, name)) {
            return &commands[i];
        }
    }
    return NULL;
}

/* The only list of them: completion and the manual's test read it. */
static void print_words(const char *name)
{
    const struct command *command = name ? find_command(name) : NULL;
    unsigned i;

    if (command) {
        print_options(common_options);
        print_options(command->options);
        return;
    }
    for (i = 0; i < G_N_ELEMENTS(commands); i++) {
        puts(commands[i].name);
    }
    print_options(main_options);
}

static gboolean check_common(GError **error)
{
    if (the_ctl.timeout_s < 1) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_USAGE,
                    "--timeout=%d: give a number of seconds from 1",
                    the_ctl.timeout_s);
        return FALSE;
    }
    if (!arguments || g_strv_length(arguments) != 1) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_USAGE,
                    "give one PATH, that of the master's socket");
        return FALSE;
    }
    the_ctl.path = arguments[0];
    return TRUE;
}

static gboolean run_command(const struct command *command, GError **error)
{
    struct event_config *config = event_config_new();
    struct event *ends[2];
    pid_t parent = getppid();
    gboolean ok;

    if (the_ctl.exit_with_parent) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent) {
            return TRUE;
        }
    }
    /* Not epoll: it refuses a standard input that is a file. */
    event_config_require_features(config, EV_FEATURE_FDS);
    the_ctl.base = event_base_new_with_config(config);
    event_config_free(config);
    g_assert(the_ctl.base);
    the_ctl.timer = evtimer_new(the_ctl.base, time_is_up, &the_ctl);
    ends[0] = evsignal_new(the_ctl.base, SIGINT, signalled, &the_ctl);
    ends[1] = evsignal_new(the_ctl.base, SIGTERM, signalled, &the_ctl);
    event_add(ends[0], NULL);
    event_add(ends[1], NULL);
    ok = command->run(&the_ctl, error);
    event_free(ends[0]);
    event_free(ends[1]);
    event_free(the_ctl.timer);
    event_base_free(the_ctl.base);
    return ok;
}

static GOptionContext *command_context(const struct command *command)
{
    char *usage = g_strdup_printf("sdmctl %s", command->name);
    GOptionContext *context = g_option_context_new(NULL);

    g_set_prgname(usage);
    g_option_context_set_summary(context, command->summary);
    g_option_context_add_main_entries(context, common_options, NULL);
    g_option_context_add_main_entries(context, command->options, NULL);
    g_option_context_set_description(context, "See sdmctl(1).");
    g_free(usage);
    return context;
}

static GOptionContext *main_context(void)
{
    GOptionContext *context = g_option_context_new("PATH [OPTION...]");
    GString *text = g_string_new("Commands:\n");
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_string_append_printf(text, "  %-8s %s\n", commands[i].name,
                               commands[i].summary);
    }
    g_string_append(text, "\nsdmctl COMMAND --help lists the command's "
                    "options. See sdmctl(1).\n\n"
                    "Exit status: 0 done, 1 refused or failed, 2 wrong usage, "
                    "3 no master");
    g_option_context_set_summary(context,
                                 "Be a peer, or the master, of a qemu-sdm "
                                 "control socket.");
    g_option_context_set_description(context, text->str);
    g_option_context_add_main_entries(context, main_options, NULL);
    g_string_free(text, TRUE);
    return context;
}

/* Everything but a command. */
static gboolean run_main(GError **error)
{
    if (want_version) {
        printf("sdmctl %s\n", PACKAGE_VERSION);
        return TRUE;
    }
    if (want_capabilities) {
        print_capabilities();
        return TRUE;
    }
    if (want_words) {
        print_words(arguments ? arguments[0] : NULL);
        return TRUE;
    }
    if (arguments) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_USAGE,
                    "'%s' is no command; --help lists them", arguments[0]);
    } else {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_USAGE,
                    "give a command; --help lists them");
    }
    return FALSE;
}

int main(int argc, char **argv)
{
    const struct command *command = argc > 1 ? find_command(argv[1]) : NULL;
    GOptionContext *context;
    GError *error = NULL;
    gboolean ok;
    int status = SDMCTL_OK;

    setlocale(LC_CTYPE, "");
    if (command) {
        argc--;
        argv++;
        context = command_context(command);
        ok = g_option_context_parse(context, &argc, &argv, &error) &&
             check_common(&error) && run_command(command, &error);
    } else {
        g_set_prgname("sdmctl");
        context = main_context();
        ok = g_option_context_parse(context, &argc, &argv, &error) &&
             run_main(&error);
    }
    if (!ok) {
        g_printerr("sdmctl: %s\n", error->message);
        status = error->domain == G_OPTION_ERROR ? SDMCTL_USAGE :
                 error->domain == SDMCTL_ERROR ? error->code : SDMCTL_FAILED;
        g_error_free(error);
    }
    g_option_context_free(context);
    g_strfreev(arguments);
    return status;
}

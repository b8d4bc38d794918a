/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "qemu/error-report.h"
#include "qemu/madvise.h"
#include "qemu/module.h"
#include "qom/object_interfaces.h"
#include "exec/memory.h"
#include "exec/address-spaces.h"
#include "exec/ramblock.h"
#include "migration/blocker.h"
#include "backends/hostmem-shared-qemu.h"
#include "backends/sdm-report-qemu.h"
#include "backends/sdm-tcg-qemu.h"
#include "qemu-sdm/trace.h"

/* Alignment of a slave's reservation: covers every huge page but the 1 GiB. */
#define RESERVE_ALIGN (2 * MiB)

struct HostMemoryBackendShared {
    HostMemoryBackend parent_obj;

    char *mem_path;
    char *socket_id;
    char *windows_str;
    uint64_t hugetlbsize;
    bool master;
    bool seal;

    MultiSocket *socket;
    MultiSocketClient client;
    bool attached;
    bool discard_disabled;
    Error *blocker;

    /* master */
    struct sdm_region region;

    /* slave */
    void *reserved;
    bool mapped;
    int fd;
    uint64_t fd_size;
    uint64_t fd_page;
};

static HostMemoryBackendShared *the_slave;
static void (*parent_complete)(UserCreatable *uc, Error **errp);

bool hostmem_shared_is_master(const HostMemoryBackendShared *m)
{
    return m->master;
}

MultiSocket *hostmem_shared_socket(HostMemoryBackendShared *m)
{
    return m->socket;
}

uint64_t hostmem_shared_size(HostMemoryBackendShared *m)
{
    return MEMORY_BACKEND(m)->size;
}

uint64_t hostmem_shared_page_size(HostMemoryBackendShared *m)
{
    return m->master ? m->region.page_size : m->fd_page;
}

unsigned hostmem_shared_windows(HostMemoryBackendShared *m,
                                const struct sdm_window **w)
{
    if (w) {
        *w = m->region.windows;
    }
    return m->region.nwindows;
}

HostMemoryBackendShared *hostmem_shared_slave(void)
{
    return the_slave;
}

HostMemoryBackendShared *hostmem_shared_find(const char *id, const char *owner,
                                             Error **errp)
{
    Object *obj = object_resolve_path_component(object_get_objects_root(), id);

    if (!obj) {
        error_setg(errp, "%s: '%s' names no object; add -object "
                   TYPE_MEMORY_BACKEND_SHARED ",id=%s,...", owner, id, id);
        return NULL;
    }
    if (!object_dynamic_cast(obj, TYPE_MEMORY_BACKEND_SHARED)) {
        error_setg(errp, "%s: '%s' is a %s, not a " TYPE_MEMORY_BACKEND_SHARED,
                   owner, id, object_get_typename(obj));
        return NULL;
    }
    return MEMORY_BACKEND_SHARED(obj);
}

static int find_of(Object *obj, void *opaque)
{
    void **args = opaque;
    HostMemoryBackendShared *m = (HostMemoryBackendShared *)
        object_dynamic_cast(obj, TYPE_MEMORY_BACKEND_SHARED);

    if (m && m->socket == args[0]) {
        args[1] = m;
        return 1;
    }
    return 0;
}

HostMemoryBackendShared *hostmem_shared_of(MultiSocket *s)
{
    void *args[] = { s, NULL };

    object_child_foreach(object_get_objects_root(), find_of, args);
    return args[1];
}

bool hostmem_shared_base(HostMemoryBackendShared *m, uint64_t *base)
{
    MemoryRegion *mr = &MEMORY_BACKEND(m)->mr;
    uint64_t addr = 0;

    /* With secure=on, system memory lies in a container, too. */
    for (; mr && mr != get_system_memory(); mr = mr->container) {
        addr += mr->addr;
    }
    if (!mr) {
        return false;
    }
    *base = addr;
    return true;
}

void *hostmem_shared_host(HostMemoryBackendShared *m)
{
    return m->master ? m->region.addr : m->mapped ? m->reserved : NULL;
}

/* What the master gives to a slave */

static uint32_t shared_grant(MultiSocketClient *c, uint32_t id,
                             uint64_t ram_size, struct sdm_grant *grant,
                             const char **text)
{
    HostMemoryBackendShared *m =
        container_of(c, HostMemoryBackendShared, client);
    struct sdm_region *r = &m->region;

    grant->page_size = r->page_size;
    if (!r->nwindows) {
        grant->memory_size = r->size;
        grant->fds[0] = r->segments[0].fd;
        return SDM_OK;
    }
    if (id > r->nwindows) {
        *text = "the master has no window for this id: windows= of its "
                TYPE_MEMORY_BACKEND_SHARED " names fewer slaves";
        return SDM_ERR_WINDOW;
    }
    /* Each window is a file of its own, and the slave is handed just that. */
    grant->memory_size = r->segments[id].size;
    grant->window.offset = 0;
    grant->window.size = r->segments[id].size;
    grant->fds[0] = r->segments[id].fd;
    return SDM_OK;
}

/* What a slave is given */

static void shared_welcome(MultiSocketClient *c, const struct sdm_msg *msg,
                           int *fds)
{
    HostMemoryBackendShared *m =
        container_of(c, HostMemoryBackendShared, client);
    uint64_t page;
    int ret;

    if (m->fd >= 0) {
        close(m->fd);
        m->fd = -1;
    }
    if (!(msg->u.welcome.fds & SDM_WIRE_FD_MEMORY)) {
        return;
    }
    ret = sdm_fd_check(fds[0], msg->u.welcome.memory_size, 0, &page);
    if (ret < 0) {
        sdm_report("%s: the master's memory cannot be used: %s",
                    multi_socket_path(m->socket), strerror(-ret));
        return;
    }
    m->fd = fds[0];
    fds[0] = -1;
    m->fd_size = msg->u.welcome.memory_size;
    m->fd_page = page;
}

/*
 * Some of QEMU reads RAM blocks without a look at the memory region (as
 * calc-dirty-rate), or through what it mapped before a reset (as ramfb). That
 * may read zeros, which costs no memory; it must not end QEMU.
 */
static void let_read(HostMemoryBackendShared *m)
{
    mprotect(m->reserved, MEMORY_BACKEND(m)->size, PROT_READ);
}

uint32_t hostmem_shared_map(HostMemoryBackendShared *m, uint64_t offset,
                            uint64_t size, struct sdm_text *why)
{
    HostMemoryBackend *backend = MEMORY_BACKEND(m);
    struct sdm_window w = { offset, size };
    int ret;

    sdm_text_init(why);
    if (m->fd < 0) {
        sdm_text_add(why, "the master has sent no memory");
        return SDM_ERR_MEMORY;
    }
    if (size != backend->size) {
        sdm_text_add(why, "the window has ");
        sdm_text_add_size(why, size);
        sdm_text_add(why, ", the slave's memory-backend-shared ");
        sdm_text_add_size(why, backend->size);
        sdm_text_add(why, ": make them equal");
        return SDM_ERR_WINDOW;
    }
    if (sdm_window_check(&w, m->fd_size, m->fd_page) < 0) {
        sdm_text_add(why, "the window at ");
        sdm_text_add_hex(why, offset);
        sdm_text_add(why, " is not inside the master's memory, or not "
                     "aligned to its pages of ");
        sdm_text_add_size(why, m->fd_page);
        return SDM_ERR_WINDOW;
    }
    ret = sdm_reserve_map(m->reserved, size, m->fd, offset);
    if (ret < 0) {
        sdm_text_add(why, "mmap of the window failed: ");
        sdm_text_add(why, strerror(-ret));
        let_read(m);
        return SDM_ERR_MEMORY;
    }
    /* The new mapping has none of the advice that the RAM block was given. */
    qemu_madvise(m->reserved, size, QEMU_MADV_DONTFORK);
    if (!backend->dump) {
        qemu_madvise(m->reserved, size, QEMU_MADV_DONTDUMP);
    }
    m->mapped = true;
    return SDM_OK;
}

void hostmem_shared_show(HostMemoryBackendShared *m)
{
    memory_region_set_enabled(&MEMORY_BACKEND(m)->mr, true);
}

void hostmem_shared_hide(HostMemoryBackendShared *m)
{
    memory_region_set_enabled(&MEMORY_BACKEND(m)->mr, false);
}

void hostmem_shared_unmap(HostMemoryBackendShared *m)
{
    if (!m->mapped) {
        return;
    }
    hostmem_shared_hide(m);
    /* PROT_NONE over an existing mapping of the same size: cannot fail. */
    if (sdm_reserve_unmap(m->reserved, MEMORY_BACKEND(m)->size) < 0) {
        error_report("the slave's window could not be unmapped: %s",
                     strerror(errno));
    }
    let_read(m);
    m->mapped = false;
}

/* Making it */

static bool parse_windows(HostMemoryBackendShared *m, uint64_t *sizes,
                          unsigned *n, Error **errp)
{
    g_auto(GStrv) words = NULL;
    unsigned i;

    *n = 0;
    if (!m->windows_str) {
        return true;
    }
    words = g_strsplit(m->windows_str, ":", -1);
    for (i = 0; words[i]; i++) {
        if (i == SDM_MAX_SLAVES) {
            error_setg(errp, "windows=%s names more than %u slaves",
                       m->windows_str, SDM_MAX_SLAVES);
            return false;
        }
        if (qemu_strtosz_MiB(words[i], NULL, &sizes[i]) < 0) {
            error_setg(errp, "windows=%s: '%s' is no size: give SIZE[:SIZE...]"
                       " such as 128M:64M", m->windows_str, words[i]);
            return false;
        }
    }
    *n = i;
    return true;
}

static bool alloc_master(HostMemoryBackendShared *m, Error **errp)
{
    HostMemoryBackend *backend = MEMORY_BACKEND(m);
    g_autofree char *name = host_memory_backend_get_name(backend);
    uint64_t sizes[SDM_MAX_SLAVES];
    struct sdm_region_config config = {
        .size = backend->size,
        .mem_path = m->mem_path,
        .hugetlbsize = m->hugetlbsize,
        .seal = m->seal,
        .windows = sizes,
    };
    struct sdm_text why;
    int ret;

    sdm_text_init(&why);
    if (!parse_windows(m, sizes, &config.nwindows, errp)) {
        return false;
    }
    ret = sdm_region_create(&m->region, &config, &why);
    if (ret < 0) {
        error_setg(errp, TYPE_MEMORY_BACKEND_SHARED " '%s': %s", name,
                   why.len ? why.buf : strerror(-ret));
        return false;
    }
    /*
     * The RAM block holds no fd, though there may be one: with windows= there
     * are several, and offsets in them are not offsets in the block.
     */
    memory_region_init_ram_ptr(&backend->mr, OBJECT(m), name, backend->size,
                               m->region.addr);
    backend->mr.ram_block->flags |= RAM_SHARED;
    backend->mr.ram_block->page_size = m->region.page_size;
    return true;
}

static bool alloc_slave(HostMemoryBackendShared *m, Error **errp)
{
    HostMemoryBackend *backend = MEMORY_BACKEND(m);
    g_autofree char *name = host_memory_backend_get_name(backend);

    if (backend->prealloc) {
        error_setg(errp, "prealloc=on of '%s': a slave has no memory before "
                   "it boots; give prealloc=on to the master's", name);
        return false;
    }
    if (m->mem_path || m->windows_str || m->hugetlbsize) {
        error_setg(errp, "%s= of '%s' is the master's to say: leave it out, "
                   "or give master=on",
                   m->mem_path ? "mem-path" : m->windows_str ? "windows" :
                   "hugetlbsize", name);
        return false;
    }
    if (the_slave) {
        error_setg(errp, "'%s': a slave has one " TYPE_MEMORY_BACKEND_SHARED
                   " only", name);
        return false;
    }
    if (!QEMU_IS_ALIGNED(backend->size, qemu_real_host_page_size())) {
        error_setg(errp, "size=%" PRIu64 " of '%s' is no multiple of the "
                   "page size %zu", backend->size, name,
                   (size_t)qemu_real_host_page_size());
        return false;
    }
    m->reserved = sdm_reserve(backend->size, RESERVE_ALIGN);
    if (!m->reserved) {
        error_setg_errno(errp, errno, "cannot reserve %" PRIu64 " bytes of "
                         "address space for '%s'", backend->size, name);
        return false;
    }
    memory_region_init_ram_ptr(&backend->mr, OBJECT(m), name, backend->size,
                               m->reserved);
    let_read(m);
    backend->mr.ram_block->flags |= RAM_SHARED;
    memory_region_set_enabled(&backend->mr, false);
    the_slave = m;
    return true;
}

static void shared_alloc(HostMemoryBackend *backend, Error **errp)
{
    HostMemoryBackendShared *m = MEMORY_BACKEND_SHARED(backend);
    MultiSocket *socket;

    if (!backend->size) {
        error_setg(errp, TYPE_MEMORY_BACKEND_SHARED " needs size=");
        return;
    }
    if (!backend->share) {
        error_setg(errp, "share=off contradicts " TYPE_MEMORY_BACKEND_SHARED);
        return;
    }
    socket = multi_socket_find(m->socket_id, TYPE_MEMORY_BACKEND_SHARED, errp);
    if (!socket) {
        return;
    }
    if (hostmem_shared_of(socket)) {
        error_setg(errp, "socket=%s has a " TYPE_MEMORY_BACKEND_SHARED
                   " already", m->socket_id);
        object_unref(OBJECT(socket));
        return;
    }
    m->socket = socket;
    if (multi_socket_is_master(socket) != m->master) {
        error_setg(errp, m->master ?
                   "master=on needs a " TYPE_MULTI_SOCKET " with listen=on, "
                   "and '%s' has none" :
                   "'%s' listens: its " TYPE_MEMORY_BACKEND_SHARED " needs "
                   "master=on", m->socket_id);
        return;
    }
    if (ram_block_discard_disable(true)) {
        error_setg(errp, "memory of '%s' cannot be discarded, which another "
                   "device needs", m->socket_id);
        return;
    }
    m->discard_disabled = true;
    error_setg(&m->blocker, "memory that is shared with another QEMU "
               "(" TYPE_MEMORY_BACKEND_SHARED ") cannot be migrated or saved");
    if (migrate_add_blocker(m->blocker, errp) < 0) {
        g_clear_pointer(&m->blocker, error_free);
        return;
    }
    if (!(m->master ? alloc_master(m, errp) : alloc_slave(m, errp))) {
        return;
    }
    if (m->master) {
        struct sdm_hub *hub = multi_socket_hub(m->socket);
        unsigned i;

        sdm_hub_memory(hub, m->region.size, m->region.page_size);
        for (i = 0; i < m->region.nwindows; i++) {
            sdm_hub_fixed_window(hub, i + 1, &m->region.windows[i]);
        }
        m->client.grant = shared_grant;
    } else {
        m->client.welcome = shared_welcome;
    }
    multi_socket_add(m->socket, &m->client);
    m->attached = true;
    sdm_tcg_share_ram();
}

static void shared_complete(UserCreatable *uc, Error **errp)
{
    ERRP_GUARD();

    parent_complete(uc, errp);
    if (!*errp && !MEMORY_BACKEND_SHARED(uc)->master) {
        /* Or qom-set prealloc would touch what is not there, and crash. */
        MEMORY_BACKEND(uc)->prealloc = true;
    }
}

static void shared_instance_init(Object *obj)
{
    HostMemoryBackendShared *m = MEMORY_BACKEND_SHARED(obj);

    MEMORY_BACKEND(m)->share = true;
    m->seal = true;
    m->fd = -1;
}

static void shared_finalize(Object *obj)
{
    HostMemoryBackendShared *m = MEMORY_BACKEND_SHARED(obj);

    if (m->attached) {
        multi_socket_remove(m->socket, &m->client);
        if (m->master) {
            sdm_hub_memory(multi_socket_hub(m->socket), 0, 0);
        }
    }
    if (m->blocker) {
        migrate_del_blocker(m->blocker);
        error_free(m->blocker);
    }
    if (m->discard_disabled) {
        ram_block_discard_disable(false);
    }
    if (m->region.addr) {
        sdm_region_destroy(&m->region);
    }
    if (m->reserved) {
        munmap(m->reserved, MEMORY_BACKEND(m)->size);
    }
    if (m->fd >= 0) {
        close(m->fd);
    }
    if (the_slave == m) {
        the_slave = NULL;
    }
    object_unref(OBJECT(m->socket));
    g_free(m->mem_path);
    g_free(m->socket_id);
    g_free(m->windows_str);
}

static bool may_set(Object *o, const char *name, Error **errp)
{
    if (host_memory_backend_mr_inited(MEMORY_BACKEND(o))) {
        error_setg(errp, "%s cannot be changed any more", name);
        return false;
    }
    return true;
}

static void set_str(Object *o, const char *name, char **field,
                    const char *value, Error **errp)
{
    if (may_set(o, name, errp)) {
        g_free(*field);
        *field = g_strdup(value);
    }
}

static char *get_mem_path(Object *o, Error **errp)
{
    return g_strdup(MEMORY_BACKEND_SHARED(o)->mem_path);
}

static void set_mem_path(Object *o, const char *value, Error **errp)
{
    set_str(o, "mem-path", &MEMORY_BACKEND_SHARED(o)->mem_path, value, errp);
}

static char *get_socket(Object *o, Error **errp)
{
    return g_strdup(MEMORY_BACKEND_SHARED(o)->socket_id);
}

static void set_socket(Object *o, const char *value, Error **errp)
{
    set_str(o, "socket", &MEMORY_BACKEND_SHARED(o)->socket_id, value, errp);
}

static char *get_windows(Object *o, Error **errp)
{
    return g_strdup(MEMORY_BACKEND_SHARED(o)->windows_str);
}

static void set_windows(Object *o, const char *value, Error **errp)
{
    set_str(o, "windows", &MEMORY_BACKEND_SHARED(o)->windows_str, value, errp);
}

static bool get_master(Object *o, Error **errp)
{
    return MEMORY_BACKEND_SHARED(o)->master;
}

static void set_master(Object *o, bool value, Error **errp)
{
    if (may_set(o, "master", errp)) {
        MEMORY_BACKEND_SHARED(o)->master = value;
    }
}

static bool get_seal(Object *o, Error **errp)
{
    return MEMORY_BACKEND_SHARED(o)->seal;
}

static void set_seal(Object *o, bool value, Error **errp)
{
    if (may_set(o, "seal", errp)) {
        MEMORY_BACKEND_SHARED(o)->seal = value;
    }
}

static void get_hugetlbsize(Object *o, Visitor *v, const char *name,
                            void *opaque, Error **errp)
{
    visit_type_size(v, name, &MEMORY_BACKEND_SHARED(o)->hugetlbsize, errp);
}

static void set_hugetlbsize(Object *o, Visitor *v, const char *name,
                            void *opaque, Error **errp)
{
    if (may_set(o, name, errp)) {
        visit_type_size(v, name, &MEMORY_BACKEND_SHARED(o)->hugetlbsize, errp);
    }
}

static void shared_class_init(ObjectClass *oc, void *data)
{
    HostMemoryBackendClass *bc = MEMORY_BACKEND_CLASS(oc);

    bc->alloc = shared_alloc;
    parent_complete = USER_CREATABLE_CLASS(oc)->complete;
    USER_CREATABLE_CLASS(oc)->complete = shared_complete;
    object_class_property_add_bool(oc, "master", get_master, set_master);
    object_class_property_set_description(oc, "master",
        "This is the master's memory; off: a slave's");
    object_class_property_add_str(oc, "socket", get_socket, set_socket);
    object_class_property_set_description(oc, "socket",
        "Id of the " TYPE_MULTI_SOCKET " over which it is shared");
    object_class_property_add_str(oc, "mem-path", get_mem_path, set_mem_path);
    object_class_property_set_description(oc, "mem-path",
        "Directory or file on hugetlbfs or tmpfs (default: sealed memfds)");
    object_class_property_add(oc, "hugetlbsize", "size", get_hugetlbsize,
                              set_hugetlbsize, NULL, NULL);
    object_class_property_set_description(oc, "hugetlbsize",
        "Huge page size (ex: 2M, 1G; default: base pages, or mem-path's)");
    object_class_property_add_str(oc, "windows", get_windows, set_windows);
    object_class_property_set_description(oc, "windows",
        "SIZE[:SIZE...] of the slaves' windows, from the top down");
    object_class_property_add_bool(oc, "seal", get_seal, set_seal);
    object_class_property_set_description(oc, "seal",
        "Off: with hugetlbsize, use the hugetlbfs mount for that size");
}

static const TypeInfo shared_info = {
    .name = TYPE_MEMORY_BACKEND_SHARED,
    .parent = TYPE_MEMORY_BACKEND,
    .instance_size = sizeof(HostMemoryBackendShared),
    .instance_init = shared_instance_init,
    .instance_finalize = shared_finalize,
    .class_init = shared_class_init,
};

static void shared_register(void)
{
    type_register_static(&shared_info);
}

type_init(shared_register);

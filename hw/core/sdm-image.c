/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Boot images; sdm-image.h says how they work. */
#include "qemu/osdep.h"
#include <zlib.h>
#include "qapi/error.h"
#include "qapi/qapi-commands-sdm-image.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/madvise.h"
#include "qemu/units.h"
#include "exec/address-spaces.h"
#include "exec/cpu-common.h"
#include "backends/sdm-filemap-qemu.h"
#include "hw/boards.h"
#include "hw/core/sdm-image.h"
#include "hw/qdev-core.h"
#include "migration/misc.h"
#include "migration/shared-qemu.h"
#include "sysemu/hostmem.h"
#include "sysemu/reset.h"
#include "sysemu/runstate.h"
#include "sysemu/sysemu.h"
#include "qemu-sdm/trace.h"

#define TYPE_SDM_IMAGES "sdm-images"
OBJECT_DECLARE_SIMPLE_TYPE(SdmImages, SDM_IMAGES)

#define CHILD "boot-images"

/* What memory that is no RAM is filled by, and how files are unpacked. */
#define CHUNK (64 * KiB)

enum { RELOAD_ON, RELOAD_OFF, RELOAD_COPY };

/* Images of one file share it. */
typedef struct ImageFile {
    unsigned refs;
    int fd;
    struct stat st;     /* as it was at start */
} ImageFile;

struct SdmImage {
    QTAILQ_ENTRY(SdmImage) next;
    ImageFile *file;    /* NULL: only to be listed */
    char *path;
    BootImageKind kind;
    int phdr;           /* -1: no ELF file */
    off_t offset;       /* where in the file */
    size_t file_size;   /* bytes there */
    size_t data_size;   /* bytes unpacked */
    bool packed;

    bool placed;        /* it has an address: */
    AddressSpace *as;
    MemoryRegion *mr;
    hwaddr addr;
    size_t mem_size;
    bool once;

    bool loaded;
    bool unpacked;      /* sdm_image_unpack() has put all of it there */
    BootImageHeld held;
    /* The bytes that QEMU holds of it, and the guest's that are its file's. */
    void *data;
    size_t data_len;
    SdmFilemap *map;
    bool zero_copy;
    char *fault;        /* what is wrong with the file */
};

struct SdmImages {
    Object parent_obj;

    int reload;
    bool map_private;
    bool discard_disabled;
    QTAILQ_HEAD(, SdmImage) list;
};

static const char *const reload_names[] = { "on", "off", "copy" };

static SdmImages *images_of(Object *machine, bool create)
{
    Object *o = object_resolve_path_component(machine, CHILD);

    if (!o && create) {
        sdm_memory_usage_init();
        o = object_new(TYPE_SDM_IMAGES);
        object_property_add_child(machine, CHILD, o);
        object_unref(o);
    }
    return o ? SDM_IMAGES(o) : NULL;
}

static SdmImages *images(void)
{
    return images_of(qdev_get_machine(), true);
}

/* Files */

static void file_unref(ImageFile *f)
{
    if (f && !--f->refs) {
        close(f->fd);
        g_free(f);
    }
}

static ImageFile *file_ref(int fd)
{
    ImageFile *f;
    SdmImage *i;
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return NULL;
    }
    QTAILQ_FOREACH(i, &images()->list, next) {
        f = i->file;
        if (f && f->st.st_dev == st.st_dev && f->st.st_ino == st.st_ino &&
            sdm_file_same(fd, &f->st, NULL)) {
            f->refs++;
            return f;
        }
    }
    fd = qemu_dup(fd);
    if (fd < 0) {
        return NULL;
    }
    f = g_new0(ImageFile, 1);
    f->refs = 1;
    f->fd = fd;
    f->st = st;
    return f;
}

/* Return: 0, -errno, or -ENODATA if the file ends before */
static int read_at(ImageFile *f, void *buf, size_t size, off_t offset)
{
    while (size) {
        ssize_t n = pread(f->fd, buf, MIN(size, SSIZE_MAX / 2), offset);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n ? -errno : -ENODATA;
        }
        buf += n;
        offset += n;
        size -= n;
    }
    return 0;
}

/* What a file is */

static bool is_ramdisk(const char *path)
{
    const char *ramdisk = MACHINE(qdev_get_machine())->initrd_filename;

    return ramdisk && !strcmp(ramdisk, path);
}

static BootImageKind sniff(SdmImage *i)
{
    uint8_t head[0x206] = { 0 };

    read_at(i->file, head, MIN(sizeof(head), i->file_size), i->offset);
    if (is_ramdisk(i->path)) {
        return BOOT_IMAGE_KIND_RAMDISK;
    }
    if (ldl_le_p(head + 0x24) == 0x016f2818) {
        return BOOT_IMAGE_KIND_ZIMAGE;
    }
    if (!memcmp(head + 0x38, "ARM\x64", 4)) {
        return BOOT_IMAGE_KIND_IMAGE;
    }
    if (!memcmp(head + 0x202, "HdrS", 4)) {
        return BOOT_IMAGE_KIND_BZIMAGE;
    }
    return BOOT_IMAGE_KIND_RAW;
}

static SdmImage *image_add(const char *path, BootImageKind kind)
{
    SdmImage *i = g_new0(SdmImage, 1);

    i->path = g_strdup(path);
    i->kind = kind;
    i->phdr = -1;
    QTAILQ_INSERT_TAIL(&images()->list, i, next);
    return i;
}

SdmImage *sdm_image_new(const char *path, int fd, off_t offset, size_t size)
{
    ImageFile *f = file_ref(fd);
    SdmImage *i;

    if (!f) {
        return NULL;
    }
    if (offset > f->st.st_size || size > f->st.st_size - offset) {
        file_unref(f);
        return NULL;
    }
    i = image_add(path, BOOT_IMAGE_KIND_RAW);
    i->file = f;
    i->offset = offset;
    i->file_size = i->data_size = i->mem_size = size;
    i->kind = sniff(i);
    return i;
}

SdmImage *sdm_image_open(const char *path)
{
    SdmImage *i = NULL;
    struct stat st;
    uint8_t head[2];
    int fd = qemu_open_old(path, O_RDONLY | O_BINARY | O_NONBLOCK);

    if (fd < 0) {
        return NULL;
    }
    if (!fstat(fd, &st) && S_ISREG(st.st_mode)) {
        i = sdm_image_new(path, fd, 0, st.st_size);
    }
    qemu_close(fd);
    if (i && i->kind != BOOT_IMAGE_KIND_RAMDISK && st.st_size >= sizeof(head) &&
        !read_at(i->file, head, sizeof(head), 0) &&
        head[0] == 0x1f && head[1] == 0x8b) {
        i->kind = BOOT_IMAGE_KIND_IMAGE_GZ;
        i->packed = true;
    }
    return i;
}

void sdm_image_set_phdr(SdmImage *i, int phdr)
{
    i->kind = BOOT_IMAGE_KIND_ELF;
    i->phdr = phdr;
}

void sdm_image_set_uimage(SdmImage *i, bool packed)
{
    if (i->kind != BOOT_IMAGE_KIND_RAMDISK) {
        i->kind = BOOT_IMAGE_KIND_UIMAGE;
    }
    i->packed = packed;
}

void sdm_image_free(SdmImage *i)
{
    if (i) {
        QTAILQ_REMOVE(&images()->list, i, next);
        sdm_filemap_free(i->map);
        file_unref(i->file);
        g_free(i->fault);
        g_free(i->path);
        g_free(i);
    }
}

/*
 * Memory for a moment. Not from the heap: what is freed there stays, with
 * pieces of images in it.
 */
static void *scratch_new(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        error_report("no memory for a boot image: %s", strerror(errno));
        abort();
    }
    return p;
}

static void scratch_free(void *p, size_t size)
{
    munmap(p, size);
}

/* Into the guest's memory, piece by piece */

typedef struct Piece {
    SdmImage *image;
    uint8_t *host;
    hwaddr addr;
    hwaddr len;
    bool direct;
} Piece;

/* The next bytes of @i's memory, from @at on: RAM, or a buffer for it. */
static void piece_begin(Piece *p, SdmImage *i, uint64_t at, uint64_t want)
{
    hwaddr xlat, l = want;
    MemoryRegion *mr;

    *p = (Piece) { .image = i, .addr = i->addr + at, .len = want };
    if (i->mr) {
        p->host = memory_region_get_ram_ptr(i->mr);
        p->host += at;
        return;
    }
    WITH_RCU_READ_LOCK_GUARD() {
        mr = address_space_translate(i->as, p->addr, &xlat, &l, true,
                                     MEMTXATTRS_UNSPECIFIED);
        p->direct = memory_access_is_direct(mr, true);
    }
    if (p->direct) {
        p->host = address_space_map(i->as, p->addr, &p->len, true,
                                    MEMTXATTRS_UNSPECIFIED);
    } else {
        p->len = MIN(want, CHUNK);
        p->host = scratch_new(CHUNK);
    }
}

static void piece_end(Piece *p, hwaddr done)
{
    SdmImage *i = p->image;

    if (i->mr) {
        memory_region_set_dirty(i->mr, p->addr - i->addr, done);
    } else if (p->direct) {
        address_space_unmap(i->as, p->host, p->len, true, done);
    } else {
        address_space_write_rom(i->as, p->addr, MEMTXATTRS_UNSPECIFIED,
                                p->host, done);
        scratch_free(p->host, CHUNK);
    }
    p->host = NULL;
}

static int load_bytes(SdmImage *i, uint64_t from, uint64_t to)
{
    Piece p;
    int ret;

    for (; from < to; from += p.len) {
        piece_begin(&p, i, from, to - from);
        ret = read_at(i->file, p.host, p.len, i->offset + from);
        piece_end(&p, p.len);
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

/* Memory that is zero already is not touched: it may not be there yet. */
static void load_zeros(SdmImage *i, uint64_t from, uint64_t to)
{
    Piece p;

    for (; from < to; from += p.len) {
        bool zero;

        piece_begin(&p, i, from, MIN(to - from, CHUNK));
        zero = p.direct && buffer_is_zero(p.host, p.len);
        if (!zero) {
            memset(p.host, 0, p.len);
        }
        piece_end(&p, zero ? 0 : p.len);
    }
}

/* Unpacking */

typedef enum OutMode { OUT_GUEST, OUT_HEAP, OUT_NOWHERE } OutMode;

typedef struct Out {
    SdmImage *image;
    OutMode mode;
    uint64_t max;
    uint64_t total;
    uint8_t *heap;
    size_t heap_size;
    bool all_direct;
    Piece piece;
} Out;

/* What unpacking needs: zlib's state and window take 50 KiB. */
typedef struct Arena {
    uint8_t in[CHUNK];
    uint8_t beyond[4096];
    size_t used;
    uint8_t zlib[CHUNK] QEMU_ALIGNED(16);
} Arena;

static void *arena_alloc(void *opaque, unsigned items, unsigned size)
{
    Arena *a = opaque;
    size_t bytes = ROUND_UP((size_t)items * size, 16);
    void *p = a->zlib + a->used;

    if (bytes > sizeof(a->zlib) - a->used) {
        return NULL;
    }
    a->used += bytes;
    return p;
}

static void arena_free(void *opaque, void *p)
{
}

/* Room for the next bytes; there is always some, to see that it is too much. */
static void out_next(Out *o, Arena *a, z_stream *z)
{
    uint64_t left = o->max - o->total;

    if (!left || o->mode == OUT_NOWHERE) {
        z->next_out = a->beyond;
        z->avail_out = sizeof(a->beyond);
    } else if (o->mode == OUT_GUEST) {
        piece_begin(&o->piece, o->image, o->total, MIN(left, GiB));
        o->all_direct &= o->piece.direct;
        z->next_out = o->piece.host;
        z->avail_out = o->piece.len;
    } else {
        if (o->total == o->heap_size) {
            o->heap_size = MIN(o->max, MAX(o->heap_size * 2, MiB));
            o->heap = g_realloc(o->heap, o->heap_size);
        }
        z->next_out = o->heap + o->total;
        z->avail_out = o->heap_size - o->total;
    }
}

/*
 * Return: 0; -EBADMSG: it is no good; -EFBIG: it is more than o->max, which
 * is filled
 */
static int unpack(SdmImage *i, Out *o)
{
    Arena *a = scratch_new(sizeof(*a));
    z_stream z = { .zalloc = arena_alloc, .zfree = arena_free, .opaque = a };
    uint64_t at = 0;
    int r, ret = 0;

    o->image = i;
    o->all_direct = true;
    if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) {
        scratch_free(a, sizeof(*a));
        return -ENOMEM;
    }
    do {
        uint64_t room;

        if (!z.avail_in && at < i->file_size) {
            z.avail_in = MIN(CHUNK, i->file_size - at);
            z.next_in = a->in;
            ret = read_at(i->file, a->in, z.avail_in, i->offset + at);
            if (ret < 0) {
                break;
            }
            at += z.avail_in;
        }
        if (!z.avail_out) {
            if (o->piece.host) {
                piece_end(&o->piece, o->piece.len);
            }
            out_next(o, a, &z);
        }
        room = z.avail_out;
        r = inflate(&z, Z_NO_FLUSH);
        room -= z.avail_out;
        if (room > o->max - o->total) {
            o->total = o->max;
            ret = -EFBIG;
        } else if ((r != Z_OK && r != Z_STREAM_END) ||
                   (r == Z_OK && !room && !z.avail_in && at == i->file_size)) {
            o->total += room;
            ret = -EBADMSG;
        } else {
            o->total += room;
        }
    } while (!ret && r != Z_STREAM_END);
    if (o->piece.host) {
        piece_end(&o->piece, o->piece.len - z.avail_out);
    }
    inflateEnd(&z);
    scratch_free(a, sizeof(*a));
    return ret;
}

ssize_t sdm_image_head(SdmImage *i, void *head, size_t size)
{
    Out o = { .mode = OUT_HEAP, .heap = head, .heap_size = size, .max = size };
    int ret;

    if (!i->packed) {
        size = MIN(size, i->file_size);
        return read_at(i->file, head, size, i->offset) < 0 ? -1 : size;
    }
    ret = unpack(i, &o);
    return ret < 0 && ret != -EFBIG ? -1 : o.total;
}

static bool incoming(void)
{
    return runstate_check(RUN_STATE_INMIGRATE) && !shared_slave();
}

static bool keep_copies(void)
{
    return images()->reload == RELOAD_COPY;
}

size_t sdm_image_unpack(SdmImage *i, AddressSpace *as, hwaddr addr,
                        size_t max)
{
    Out o = { .mode = keep_copies() ? OUT_HEAP : incoming() ? OUT_NOWHERE :
              OUT_GUEST, .max = max };
    int ret;

    if (!i->packed) {
        return i->data_size;
    }
    i->as = as ?: &address_space_memory;
    i->addr = addr;
    ret = unpack(i, &o);
    if (ret < 0) {
        if (ret == -EFBIG) {
            error_report("image '%s': unpacked it has more than %zu bytes",
                         i->path, max);
        } else {
            error_report("image '%s': cannot be unpacked: %s", i->path,
                         ret == -EBADMSG ? "it is damaged" : strerror(-ret));
        }
        exit(EXIT_FAILURE);
    }
    i->data = o.heap;
    i->data_size = i->mem_size = o.total;
    i->unpacked = o.mode == OUT_GUEST && o.all_direct;
    return i->data_size;
}

/* Somebody else's */

ssize_t sdm_image_read(SdmImage *i, void *dest, size_t size)
{
    size = MIN(size, i->data_size);
    if (!i->packed) {
        return read_at(i->file, dest, size, i->offset) < 0 ? -1 : size;
    }
    return sdm_image_head(i, dest, size) == size ? size : -1;
}

static void image_fail(SdmImage *i, const char *why);

uint8_t *sdm_image_take(SdmImage *i)
{
    if (i->once && i->loaded) {
        return NULL;
    }
    if (!i->data) {
        i->data = g_malloc(i->data_size);
        if (sdm_image_read(i, i->data, i->data_size) < 0) {
            g_clear_pointer(&i->data, g_free);
            image_fail(i, "cannot be read");
            return NULL;
        }
    }
    i->held = BOOT_IMAGE_HELD_COPY;
    i->data_len = i->data_size;
    return i->data;
}

static char *image_thing(SdmImage *i)
{
    const char *kind = BootImageKind_str(i->kind);

    return i->placed && !i->mr ?
        g_strdup_printf("image %s at 0x%" HWADDR_PRIx, kind, i->addr) :
        g_strdup_printf("image %s", kind);
}

/*
 * Maps @size bytes, of whole pages, of @i's file at @host. On failure, what is
 * there stays.
 */
static bool image_map(SdmImage *i, void *host, size_t size, off_t offset,
                      Error **errp)
{
    g_autofree char *thing = NULL;
    bool same = i->map && i->data == host && i->data_len == size;
    SdmFilemap *map;

    if (same && !sdm_filemap_failed(i->map)) {
        return sdm_filemap_renew(i->map, errp);
    }
    if (!same) {
        /* The memory was unplugged, and other is there. */
        sdm_filemap_free(i->map);
        i->map = NULL;
        i->data = NULL;
        i->data_len = 0;
    }
    thing = image_thing(i);
    map = sdm_filemap_new(thing, i->path, i->file->fd, offset, host, size,
                          errp);
    if (!map) {
        return false;
    }
    sdm_filemap_free(i->map);
    i->map = map;
    i->data = host;
    i->data_len = size;
    return true;
}

void *sdm_image_map(const char *path, off_t offset, size_t *size)
{
    SdmImage *i = sdm_image_open(path);
    Error *err = NULL;
    size_t whole;
    void *host;

    if (!i || i->file_size <= offset || *size > i->file_size - offset) {
        sdm_image_free(i);
        return NULL;
    }
    if (!*size) {
        *size = i->file_size - offset;
    }
    i->packed = false;
    i->mem_size = *size;
    if (keep_copies()) {
        i->offset = offset;
        i->data_size = *size;
        return sdm_image_take(i);
    }
    whole = ROUND_UP(i->file_size, qemu_real_host_page_size());
    host = mmap(NULL, whole, PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (host == MAP_FAILED) {
        sdm_image_free(i);
        return NULL;
    }
    if (!image_map(i, host, whole, 0, &err)) {
        warn_report("image '%s': %s; it is kept in memory", path,
                    error_get_pretty(err));
        error_free(err);
        munmap(host, whole);
        sdm_image_free(i);
        return NULL;
    }
    i->held = BOOT_IMAGE_HELD_MAPPED;
    i->loaded = true;
    return host + offset;
}

void sdm_image_map_addr(const void *data, hwaddr addr)
{
    SdmImage *i;

    QTAILQ_FOREACH(i, &images()->list, next) {
        if (i->data && data >= i->data && data < i->data + i->data_len) {
            i->addr = addr;
            i->placed = true;
        }
    }
}

SdmImage *sdm_image_note(const char *path, BootImageKind kind, hwaddr addr,
                         size_t size, const void *data)
{
    SdmImage *i;

    if (!path) {
        return NULL;
    }
    i = image_add(path, kind);
    i->addr = addr;
    i->placed = addr != -1;
    i->mem_size = size;
    if (data) {
        i->held = BOOT_IMAGE_HELD_COPY;
        i->data = (void *)data;
        i->data_len = size;
    }
    return i;
}

/* Zero copy */

/* Why pages of @mr's RAM cannot be a file's, or NULL */
static const char *map_refused(MemoryRegion *mr)
{
    Object *backend = object_dynamic_cast(mr->owner ?: OBJECT(mr),
                                          TYPE_MEMORY_BACKEND);
    RAMBlock *rb = mr->ram_block;

    if (qemu_ram_pagesize(rb) != qemu_real_host_page_size()) {
        return "has huge pages, and a file has none";
    }
    if (qemu_ram_is_shared(rb)) {
        return "is shared with other processes, which would not see the file";
    }
    if (qemu_ram_get_fd(rb) >= 0) {
        return "has a file of its own";
    }
    if (enable_mlock) {
        return "is locked by -overcommit mem-lock=on, which would copy all "
               "pages";
    }
    if (backend && MEMORY_BACKEND(backend)->prealloc) {
        return "is preallocated";
    }
    if (backend && MEMORY_BACKEND(backend)->policy != HOST_MEM_POLICY_DEFAULT) {
        return "is bound to NUMA nodes, and the pages of a file are not";
    }
    return NULL;
}

/* Is there a device that relies on the RAM's pages staying the same? */
static bool pages_pinned(SdmImages *s)
{
    bool pinned;

    if (s->discard_disabled) {
        ram_block_discard_disable(false);
    }
    pinned = ram_block_discard_is_disabled();
    if (s->discard_disabled) {
        ram_block_discard_disable(true);
    }
    return pinned;
}

/* Gives the RAM where @i goes to, if all of it is one piece of RAM. */
static uint8_t *image_ram(SdmImage *i, MemoryRegion **mr)
{
    hwaddr xlat, l = i->data_size;

    RCU_READ_LOCK_GUARD();
    *mr = address_space_translate(i->as, i->addr, &xlat, &l, true,
                                  MEMTXATTRS_UNSPECIFIED);
    if (!memory_access_is_direct(*mr, true) || l < i->data_size) {
        return NULL;
    }
    return (uint8_t *)memory_region_get_ram_ptr(*mr) + xlat;
}

/* Decides, when all devices are there, whether @i is mapped. */
static void choose_zero_copy(SdmImages *s, SdmImage *i)
{
    uintptr_t page = qemu_real_host_page_size();
    const char *why = NULL;
    MemoryRegion *mr;
    uint8_t *ram;

    if (!s->map_private || i->held != BOOT_IMAGE_HELD_RELEASED || i->packed ||
        i->mr || i->once) {
        return;
    }
    ram = image_ram(i, &mr);
    if (!ram || ((uintptr_t)ram - i->offset) % page ||
        ROUND_UP((uintptr_t)ram, page) >=
        ROUND_DOWN((uintptr_t)ram + i->data_size, page)) {
        return;
    }
    why = map_refused(mr);
    if (!why && !s->discard_disabled) {
        if (pages_pinned(s)) {
            why = "is used by a device that needs its pages to stay";
        } else if (ram_block_discard_disable(true) < 0) {
            why = "is that of a device that gives pages back to the host";
        } else {
            s->discard_disabled = true;
        }
    }
    if (why) {
        error_report("image-map=private: image '%s' cannot be mapped into the "
                     "guest's memory: '%s' %s; use image-map=off", i->path,
                     memory_region_name(mr), why);
        exit(EXIT_FAILURE);
    }
    i->zero_copy = true;
}

/* Return: 0, -errno; -EAGAIN if it is to be loaded otherwise */
static int load_zero_copy(SdmImage *i)
{
    uintptr_t page = qemu_real_host_page_size();
    MemoryRegion *mr;
    uint8_t *ram = image_ram(i, &mr), *start, *end;
    hwaddr len = i->data_size;
    Error *err = NULL;
    void *host;
    int ret;

    /*
     * A device that came later may have pinned what is there now, and postcopy
     * has registered it with userfaultfd.
     */
    if (!ram || pages_pinned(images()) || migration_in_incoming_postcopy()) {
        return -EAGAIN;
    }
    start = (uint8_t *)ROUND_UP((uintptr_t)ram, page);
    end = (uint8_t *)ROUND_DOWN((uintptr_t)ram + i->data_size, page);
    if (!image_map(i, start, end - start, i->offset + (start - ram), &err)) {
        warn_report("image-map=private: %s; it is copied",
                    error_get_pretty(err));
        error_free(err);
        return -EAGAIN;
    }
    if (machine_mem_merge(current_machine)) {
        qemu_madvise(start, end - start, QEMU_MADV_MERGEABLE);
    }
    /* Other content is there now, as if it had been written. */
    host = address_space_map(i->as, i->addr, &len, true,
                             MEMTXATTRS_UNSPECIFIED);
    address_space_unmap(i->as, host, len, true, len);
    ret = load_bytes(i, 0, start - ram);
    return ret < 0 ? ret : load_bytes(i, end - ram, i->data_size);
}

/* At reset */

static bool image_load(SdmImage *i, Error **errp)
{
    int ret = -EAGAIN;

    if (i->zero_copy) {
        ret = load_zero_copy(i);
        i->held = i->map ? BOOT_IMAGE_HELD_ZERO_COPY : BOOT_IMAGE_HELD_RELEASED;
    }
    if (ret == -EAGAIN && i->packed) {
        Out o = { .mode = OUT_GUEST, .max = i->data_size };

        ret = unpack(i, &o);
        if (!ret && o.total < o.max) {
            ret = -EBADMSG;
        }
    } else if (ret == -EAGAIN) {
        ret = load_bytes(i, 0, i->data_size);
    }
    if (ret < 0) {
        error_setg(errp, "cannot be loaded: %s", ret == -ENODATA ?
                   "it ends too early" : ret == -EBADMSG || ret == -EFBIG ?
                   "it is damaged" : strerror(-ret));
        return false;
    }
    /* As it has always been, what is all zeros is left to the guest. */
    if (i->data_size) {
        load_zeros(i, i->data_size, i->mem_size);
    }
    if (!i->mr) {
        cpu_flush_icache_range(i->addr, i->data_size);
    }
    trace_sdm_image_load(i->path, i->addr, i->data_size,
                         BootImageHeld_str(i->held));
    return true;
}

/* Stops the machine; if it never started, it shall not. */
static void image_fail(SdmImage *i, const char *why)
{
    g_autofree char *thing = image_thing(i);

    if (!i->loaded) {
        error_report("%s: '%s' %s", thing, i->path, why);
        exit(EXIT_FAILURE);
    }
    i->fault = g_strdup(why);
    sdm_file_fail(thing, i->path, "%s", why);
}

static void image_reset(SdmImages *s, SdmImage *i)
{
    bool mapped = i->held == BOOT_IMAGE_HELD_MAPPED;
    bool lost = i->map && sdm_filemap_failed(i->map);
    Error *err = NULL;
    bool ok;

    if (mapped) {
        g_clear_pointer(&i->fault, g_free);
    }
    if (!i->file || i->held == BOOT_IMAGE_HELD_COPY ||
        (!mapped && incoming())) {
        /* rom_reset() has loaded it, or the stream brings what is there. */
        i->loaded = true;
        return;
    }
    if (i->loaded && !mapped && !lost &&
        (i->once || s->reload == RELOAD_OFF)) {
        return;
    }
    ok = sdm_file_same(i->file->fd, &i->file->st, &err);
    if (ok && mapped && lost) {
        ok = image_map(i, i->data, i->data_len, 0, &err);
    } else if (ok && !mapped && !i->unpacked) {
        ok = image_load(i, &err);
    }
    if (!ok) {
        image_fail(i, error_get_pretty(err));
        error_free(err);
        return;
    }
    i->unpacked = false;
    i->loaded = true;
}

/* Before a snapshot is loaded, too: it brings what files are not needed for. */
static void images_forget(void *opaque)
{
    SdmImages *s = opaque;
    SdmImage *i;

    QTAILQ_FOREACH(i, &s->list, next) {
        if (i->held != BOOT_IMAGE_HELD_MAPPED) {
            g_clear_pointer(&i->fault, g_free);
        }
    }
}

static void images_reset(void *opaque)
{
    SdmImages *s = opaque;
    SdmImage *i;

    QTAILQ_FOREACH(i, &s->list, next) {
        image_reset(s, i);
    }
}

void sdm_image_place(SdmImage *i, AddressSpace *as, MemoryRegion *mr,
                     hwaddr addr, size_t size, bool once, uint8_t **data)
{
    i->as = as;
    i->mr = mr;
    i->addr = addr;
    i->mem_size = size;
    i->once = once;
    i->placed = true;
    if (keep_copies() && i->file && !*data) {
        *data = sdm_image_take(i);
    }
    choose_zero_copy(images(), i);
}

void sdm_image_register_reset(void)
{
    qemu_register_reset(images_forget, images());
    qemu_register_reset_nosnapshotload(images_reset, images());
}

bool sdm_image_stays(const SdmImage *i)
{
    return i && i->loaded && images()->reload == RELOAD_OFF;
}

void sdm_image_released(SdmImage *i)
{
    if (i && i->held == BOOT_IMAGE_HELD_COPY) {
        i->held = BOOT_IMAGE_HELD_RELEASED;
        i->data = NULL;
        i->data_len = 0;
        i->loaded = true;
    }
}

bool sdm_image_broken(void)
{
    SdmImages *s = current_machine ? images_of(OBJECT(current_machine), false)
                                   : NULL;
    SdmImage *i;

    if (!s) {
        return false;
    }
    QTAILQ_FOREACH(i, &s->list, next) {
        if (i->fault || (i->map && sdm_filemap_failed(i->map))) {
            return true;
        }
    }
    return false;
}

/* Monitor */

BootImageInfoList *qmp_query_images(Error **errp)
{
    BootImageInfoList *list = NULL, **tail = &list;
    SdmImages *s = images_of(qdev_get_machine(), false);
    SdmImage *i;

    if (!s) {
        return NULL;
    }
    QTAILQ_FOREACH(i, &s->list, next) {
        BootImageInfo *info = g_new0(BootImageInfo, 1);
        SdmMemoryUsage usage = { 0 };

        info->kind = i->kind;
        info->has_phdr = i->phdr >= 0;
        info->phdr = i->phdr;
        info->file = g_strdup(i->path);
        info->has_addr = i->placed && !i->mr;
        info->addr = i->addr;
        info->size = i->mem_size;
        info->held = i->held;
        if (i->fault || (i->map && sdm_filemap_failed(i->map))) {
            info->has_fault = true;
            info->fault = g_strdup(i->fault ?: "cannot be read, zeros stand "
                                   "for what is gone");
        }
        if (i->data && !sdm_memory_usage(i->data, i->data_len, &usage, errp)) {
            qapi_free_BootImageInfo(info);
            qapi_free_BootImageInfoList(list);
            return NULL;
        }
        info->resident = usage.resident;
        info->shared = usage.shared;
        info->q_private = usage.private_bytes;
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

/* -machine */

static char *get_reload(Object *obj, Error **errp)
{
    SdmImages *s = images_of(obj, false);

    return g_strdup(reload_names[s ? s->reload : RELOAD_ON]);
}

static void set_reload(Object *obj, const char *value, Error **errp)
{
    for (int i = 0; i < ARRAY_SIZE(reload_names); i++) {
        if (!strcmp(value, reload_names[i])) {
            images_of(obj, true)->reload = i;
            return;
        }
    }
    error_setg(errp, "image-reload=%s: give 'on', 'off' or 'copy'", value);
}

static char *get_map(Object *obj, Error **errp)
{
    SdmImages *s = images_of(obj, false);

    return g_strdup(s && s->map_private ? "private" : "off");
}

static void set_map(Object *obj, const char *value, Error **errp)
{
    if (strcmp(value, "private") && strcmp(value, "off")) {
        error_setg(errp, "image-map=%s: give 'off' or 'private'", value);
        return;
    }
    images_of(obj, true)->map_private = !strcmp(value, "private");
}

void sdm_image_machine_class_init(ObjectClass *oc)
{
    object_class_property_add_str(oc, "image-reload", get_reload, set_reload);
    object_class_property_set_description(oc, "image-reload",
        "Boot images at reset: on (read their files again, default), off "
        "(leave the guest's memory), copy (keep them in QEMU's memory)");
    object_class_property_add_str(oc, "image-map", get_map, set_map);
    object_class_property_set_description(oc, "image-map",
        "Boot images in the guest's memory: off (copied, default), private "
        "(pages of their files, until the guest writes to them)");
}

static void sdm_images_init(Object *obj)
{
    QTAILQ_INIT(&SDM_IMAGES(obj)->list);
}

static const TypeInfo sdm_images_info = {
    .name = TYPE_SDM_IMAGES,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(SdmImages),
    .instance_init = sdm_images_init,
};

static void sdm_images_register(void)
{
    type_register_static(&sdm_images_info);
}

type_init(sdm_images_register)

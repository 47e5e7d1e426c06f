"""The combinations that the default suite reads: some of each tool, container and shape."""

from typing import Final

GATE: Final = frozenset(
    """
    pyav-mp4-mp4-aac-plain pyav-mp4-mp4-alac-cut pyav-mp4-mp4-libopus-late pyav-mp4-mp4-flac-hole pyav-mp4-mp4-aac-unknown
    pyav-mov-mov-pcm_s24be-plain pyav-mov-mov-aac-late pyav-ipod-m4a-alac-plain pyav-3gp-3gp-libopencore_amrnb-plain
    pyav-matroska-mkv-ac3-plain pyav-matroska-mkv-aac-late pyav-matroska-mkv-flac-hole pyav-matroska-mkv-libopus-unknown
    pyav-matroska-mkv-mp3-cut pyav-webm-webm-libopus-hole pyav-webm-webm-vorbis-unknown pyav-avi-avi-mp3-plain
    pyav-flv-flv-aac-hole pyav-asf-wma-wmav2-plain pyav-mpegts-ts-ac3-late pyav-mpegts-ts-aac-hole pyav-mpeg-mpg-mp2-cut
    pyav-wav-wav-pcm_alaw-unknown pyav-wav-wav-pcm_u8-misnamed pyav-w64-w64-pcm_f32le-plain pyav-aiff-aiff-pcm_s24be-misnamed
    pyav-caf-caf-alac-plain pyav-au-au-pcm_mulaw-plain pyav-opus-opus-libopus-plain pyav-flac-flac-flac-unknown
    pyav-mp3-mp3-mp3-plain pyav-adts-aac-aac-plain pyav-ac3-ac3-ac3-cut pyav-tta-tta-tta-plain pyav-wv-wv-wavpack-plain
    ffmpeg-ogg-ogg-libvorbis-plain ffmpeg-mpegts-m2ts-s302m-plain sndfile-flac-PCM_24-misnamed sndfile-wav-IMA_ADPCM-cut
    sox-sph-mu-law-plain sox-avr-s16-plain
    """.split()
)
